// Command bench measures fulloncache beside its peers: what a careful user
// would write by hand with rueidis or go-redis. It starts a redis-server of its
// own, lets the peers take turns within one run, prints median ratios with their
// extremes, and exits with 1 if a stated limit is missed.
//
//	cd bench && go run .                    # everything; results are kept in results/
//	cd bench && go run . -quick             # a few seconds, nothing is kept
//	cd bench && go run . -run '^(get|near)$'
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime/pprof"
	"strings"
	"syscall"

	"github.com/fullon/fulloncache/internal/redisproc"
)

func main() {
	missed, err := run()
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	case missed:
		fmt.Fprintln(os.Stderr, "bench: a limit was missed")
		os.Exit(1)
	}
}

func run() (missed bool, err error) {
	quick := flag.Bool("quick", false, "few and short rounds; results are not kept")
	only := flag.String("run", "", "run only the benchmarks whose name matches this regexp; results are not kept")
	out := flag.String("out", "results", "folder that keeps the results of full runs")
	rounds := flag.Int("rounds", 0, "rounds (default 51, quick 5)")
	profile := flag.String("cpuprofile", "", "write a CPU profile of this process")
	flag.Parse() //revive:disable-line:deep-exit run is the whole of main, with an error
	wanted, err := regexp.Compile(*only)
	if err != nil {
		return false, err
	}
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			return false, err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return false, err
		}
		defer pprof.StopCPUProfile()
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if os.Getenv(childRedis) != "" {
		return false, child(ctx)
	}
	server, err := redisproc.Start(ctx, redisproc.Options{})
	if err != nil {
		return false, err
	}
	defer server.Stop()

	b := &bench{ctx: ctx, addr: server.Addr(), quick: *quick, rounds: 51, report: &report{}}
	if *quick {
		b.rounds = 5
	}
	if *rounds > 0 {
		b.rounds = *rounds
	}
	m := thisMachine()
	for _, bm := range benchmarks {
		if !wanted.MatchString(bm.name) {
			continue
		}
		fmt.Fprintln(os.Stderr, bm.name)
		if err := bm.run(b); err != nil {
			return false, fmt.Errorf("%s: %w", bm.name, err)
		}
	}
	command := strings.Join(append([]string{"cd bench && go run ."}, os.Args[1:]...), " ")
	var text bytes.Buffer
	if err := b.report.write(&text, m, b.rounds, command); err != nil {
		return false, err
	}
	if _, err := os.Stdout.Write(text.Bytes()); err != nil {
		return false, err
	}
	if !*quick && *only == "" {
		if err := b.report.save(*out, m, text.Bytes()); err != nil {
			return false, err
		}
	}
	return b.report.missed, nil
}
