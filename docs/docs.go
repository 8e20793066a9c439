// Package docs holds the guides to fulloncache as they are in this folder, so that
// whoever has the package has them: no network, no second repository.
//
//	fmt.Println(docs.Quickstart.Text())
//
// The command prints them too: fulloncache docs, fulloncache docs queue_guide,
// fulloncache docs api_reference tick, and all at once with fulloncache docs --all.
package docs

import (
	"embed"
	"slices"
	"strings"
)

//go:embed *.md api_reference/*.md
var files embed.FS

// Topic names a guide.
type Topic string

// The guides.
const (
	Quickstart        Topic = "quickstart"         // Quickstart: from nothing to a bot, step by step.
	CachingGuide      Topic = "caching_guide"      // CachingGuide: reading prices, bars and metadata; how old a value may be.
	CoordinationGuide Topic = "coordination_guide" // CoordinationGuide: leases, fencing, failover; who is alive.
	QueueGuide        Topic = "queue_guide"        // QueueGuide: orders and trades that are never lost.
	RepositoryGuide   Topic = "repository_guide"   // RepositoryGuide: the database: models, repositories, migrations.
	Errors            Topic = "errors"             // Errors: each error, its cause, what to do.
	OperationsGuide   Topic = "operations_guide"   // OperationsGuide: settings, servers, memory, monitoring, alerts.
	TestingGuide      Topic = "testing_guide"      // TestingGuide: testing a bot against this library.
	Performance       Topic = "performance"        // Performance: what was measured, and how to measure it.
	Migration         Topic = "migration"          // Migration: from the Python fullon_cache, its methods and its data.
	Keys              Topic = "keys"               // Keys: every key and channel in Redis.
	APIReference      Topic = "api_reference"      // APIReference: where each part of the API is described.
)

// The parts of the API, a topic for each cache and each package.
const (
	APIClient   Topic = "api_reference/client"   // APIClient: Client, Config, errors, hooks, Decimal, Market.
	APIBase     Topic = "api_reference/base"     // APIBase: health, keys, the queue of errors.
	APITick     Topic = "api_reference/tick"     // APITick: live prices.
	APIOHLCV    Topic = "api_reference/ohlcv"    // APIOHLCV: bars.
	APIBot      Topic = "api_reference/bot"      // APIBot: leases, blocks, what bots say.
	APIOrders   Topic = "api_reference/orders"   // APIOrders: orders and their queues.
	APITrades   Topic = "api_reference/trades"   // APITrades: trades on their way to who stores them.
	APIAccount  Topic = "api_reference/account"  // APIAccount: positions and balances.
	APIProcess  Topic = "api_reference/process"  // APIProcess: the register of processes.
	APIExchange Topic = "api_reference/exchange" // APIExchange: exchanges, accounts and users.
	APISymbol   Topic = "api_reference/symbol"   // APISymbol: how exactly each exchange trades what.
	APIORM      Topic = "api_reference/orm"      // APIORM: the package orm.
	APIEmbedded Topic = "api_reference/embedded" // APIEmbedded: the package embedded.
	APILogging  Topic = "api_reference/logging"  // APILogging: the package logging.
	APIMetrics  Topic = "api_reference/metrics"  // APIMetrics: the package metrics.
)

var topics = []Topic{
	Quickstart, CachingGuide, CoordinationGuide, QueueGuide, RepositoryGuide, Errors, OperationsGuide, TestingGuide,
	Performance, Migration, Keys, APIReference,
	APIClient, APIBase, APITick, APIOHLCV, APIBot, APIOrders, APITrades, APIAccount, APIProcess, APIExchange, APISymbol,
	APIORM, APIEmbedded, APILogging, APIMetrics,
}

// Topics lists the guides in the order in which to read them.
func Topics() []Topic { return slices.Clone(topics) }

// Text returns the guide, in Markdown; "" if there is none of that name.
func (t Topic) Text() string {
	text, err := files.ReadFile(string(t) + ".md")
	if err != nil {
		return "" // all that is embedded can be read
	}
	return string(text)
}

// About returns what the guide is about: the sentence below its title.
func (t Topic) About() string {
	for line := range strings.Lines(t.Text()) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "<!--") {
			return line
		}
	}
	return ""
}

// All returns the texts of all guides by the names of their topics.
func All() map[string]string {
	texts := make(map[string]string, len(topics))
	for _, t := range topics {
		texts[string(t)] = t.Text()
	}
	return texts
}

// Whole returns all guides as one text, in the order in which to read them: what a
// language model needs to know.
func Whole() string {
	var b strings.Builder
	b.WriteString("# fulloncache: all of its documentation\n\n")
	for _, t := range topics {
		b.WriteString("- " + string(t) + ": " + t.About() + "\n")
	}
	for _, t := range topics {
		b.WriteString("\n---\n\n<!-- " + string(t) + " -->\n\n" + strings.TrimSpace(t.Text()) + "\n")
	}
	return b.String()
}
