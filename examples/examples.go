// Package examples holds small programs, one for each subject, that run on a private
// server with no set-up and print what they do. They are here as text, too, to be
// copied.
//
//	fmt.Println(examples.All()["bot_coordination"]) // its source
//	err := examples.Run(ctx, "bot_coordination", os.Stdout)
//
// The command does both: fulloncache examples NAME, fulloncache examples run NAME.
package examples

import (
	"context"
	"embed"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/fullon/fulloncache"
	advancedpatterns "github.com/fullon/fulloncache/examples/advanced_patterns"
	basicusage "github.com/fullon/fulloncache/examples/basic_usage"
	botcoordination "github.com/fullon/fulloncache/examples/bot_coordination"
	"github.com/fullon/fulloncache/examples/candles"
	"github.com/fullon/fulloncache/examples/cluster"
	"github.com/fullon/fulloncache/examples/metadata"
	"github.com/fullon/fulloncache/examples/observability"
	"github.com/fullon/fulloncache/examples/performance"
	"github.com/fullon/fulloncache/examples/positions"
	processmonitor "github.com/fullon/fulloncache/examples/process_monitor"
	"github.com/fullon/fulloncache/examples/pubsub"
	queuepatterns "github.com/fullon/fulloncache/examples/queue_patterns"
)

//go:embed */*.go
var sources embed.FS

// Example is a small program.
type Example struct {
	Name  string `json:"name"`
	About string `json:"about"` // About is what it shows, in a sentence.
	run   func(ctx context.Context, w io.Writer) error
}

var list = []Example{
	{"basic_usage", "Stores prices, reads them back, and says how old they may be.", basicusage.Run},
	{"pubsub", "Follows prices: as a stream of changes, and as a mirror in memory.", pubsub.Run},
	{"queue_patterns", "Hands orders to who executes and stores them, at least once.", queuepatterns.Run},
	{"bot_coordination", "Keeps two bots off one market: a lease, a line, a fencing token.", botcoordination.Run},
	{"positions", "Counts fills into a position: exactly, and each once.", positions.Run},
	{"candles", "Makes bars of trades, stores them, and reads longer ones.", candles.Run},
	{"process_monitor", "Registers processes, follows who comes and goes, asks whether all are well.", processmonitor.Run},
	{"metadata", "Keeps what the database knows of symbols in every process's memory.", metadata.Run},
	{"cluster", "Shows what changes with a Redis Cluster: settings, and braces in keys.", cluster.Run},
	{"observability", "Counts operations for Prometheus and logs what happens.", observability.Run},
	{"performance", "Measures a server: a write, a read, a read from memory.", performance.Run},
	{"advanced_patterns", "One bot, whole: mirror, lease, acknowledged queue, position.", advancedpatterns.Run},
}

// List returns the examples in the order in which to read them.
func List() []Example { return slices.Clone(list) }

// Source returns the text of an example; [fulloncache.ErrInvalid], naming those that
// there are, if there is none of that name.
func Source(name string) (string, error) {
	if _, err := find(name); err != nil {
		return "", err
	}
	text, err := sources.ReadFile(name + "/" + name + ".go")
	return string(text), err
}

// All returns the texts of all examples by their names.
func All() map[string]string {
	texts := make(map[string]string, len(list))
	for _, e := range list {
		texts[e.Name], _ = Source(e.Name) // all that is embedded can be read
	}
	return texts
}

// Run runs an example, which prints to w what it does. It needs no server: it starts a
// private one. The errors are those of [Source], and what the example returns.
func Run(ctx context.Context, name string, w io.Writer) error {
	e, err := find(name)
	if err != nil {
		return err
	}
	if err := e.run(ctx, w); err != nil {
		return fmt.Errorf("example %s: %w", name, err)
	}
	return nil
}

func find(name string) (Example, error) {
	if i := slices.IndexFunc(list, func(e Example) bool { return e.Name == name }); i >= 0 {
		return list[i], nil
	}
	names := make([]string, len(list))
	for i, e := range list {
		names[i] = e.Name
	}
	return Example{}, fmt.Errorf("%w: no example %q: one of %s", fulloncache.ErrInvalid, name, strings.Join(names, ", "))
}
