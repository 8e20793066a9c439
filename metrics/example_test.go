package metrics_test

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/metrics"
)

func Example() {
	collector := metrics.New()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector)

	cfg := fulloncache.Config{Hooks: []fulloncache.Hooks{collector.Hooks()}}

	// A Client made with cfg tells the hooks of every operation, like this:
	cfg.Hooks[0].Operation(fulloncache.Operation{Name: "tick.set", Duration: 90 * time.Microsecond})
	cfg.Hooks[0].Operation(fulloncache.Operation{Name: "tick.get", Err: fulloncache.ErrNotFound})

	families, err := registry.Gather()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if m.GetCounter() == nil {
				continue
			}
			fmt.Print(f.GetName())
			for _, l := range m.GetLabel() {
				fmt.Printf(" %s=%s", l.GetName(), l.GetValue())
			}
			fmt.Println(":", m.GetCounter().GetValue())
		}
	}
	// Output:
	// fulloncache_operations_total operation=tick.get outcome=not_found: 1
	// fulloncache_operations_total operation=tick.set outcome=ok: 1
}
