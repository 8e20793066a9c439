// Package legacy moves the state that the Python fullon_cache keeps in a Redis into
// ours. It reads that Redis and never writes to it.
package legacy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fullon/fulloncache"
)

// Options say what is moved, and how it is to be understood.
type Options struct {
	// Source is the URL of the Redis to read.
	Source string
	// Kinds are what to move, of [Kinds]. Defaults to all of them.
	Kinds []string
	// Accounts are whose the ids of exchanges ("ex_id") in the source are, which is
	// known to the database alone.
	Accounts map[string]fulloncache.Account
	// BarsExchange is the exchange of the bars, which the source does not name.
	BarsExchange string
	// Symbols are symbols by their spelling without a slash, beside those that the
	// source itself spells out elsewhere.
	Symbols map[string]string
	// BlockTTL is how long a block or a mark that is moved lasts: in the source they
	// do not end.
	BlockTTL time.Duration
	// Window is for how long a trade or an id of an order that was moved is not moved
	// again.
	Window time.Duration
	// TradesCap and OrdersCap are how many trades and ids the lists of the target may
	// hold: of a longer one it would not be known what was moved. 0 is not looked at.
	TradesCap, OrdersCap int
	// DryRun looks, and writes nothing.
	DryRun bool
	// Progress is told how many of how many records were looked at. May be nil.
	Progress func(done, total int64)
}

// Report is what became of the records of a kind.
type Report struct {
	Kind    string `json:"kind"`
	Found   int    `json:"found"`
	Moved   int    `json:"moved"`   // Moved were written, or would be by a run that is not dry.
	Skipped int    `json:"skipped"` // Skipped need not be: the target has them, or newer.
	Refused int    `json:"refused"` // Refused cannot be: see Reasons.
	// Reasons are why records were skipped or refused, the most frequent first.
	Reasons []Reason `json:"reasons,omitempty"`
}

// Reason is why records were not moved.
type Reason struct {
	Outcome string `json:"outcome"` // Outcome is skipped or refused.
	Why     string `json:"why"`
	Count   int    `json:"count"`
	// Records are the first of them.
	Records []string `json:"records"`
}

// The outcomes.
const (
	Skipped = "skipped"
	Refused = "refused"
)

// A report names so many reasons, and so many records for each, at most: of a
// million that cannot be read nobody wants to see each.
const (
	mostReasons = 50
	mostRecords = 3
)

// skip is why a record need not be moved.
type skip string

func (s skip) Error() string { return string(s) }

const (
	there  skip = "the target has it already"
	newer  skip = "what the target has is as new, or newer"
	before skip = "it was moved before"
)

// Migration moves what is in a source. It is for one goroutine.
type Migration struct {
	opt    Options
	source source
	to     *fulloncache.Client
	kinds  []kind

	unchanged map[string]string // of lists, what they ended with when they were read last
	wrote     map[fulloncache.Series]fulloncache.Bar
	shown     map[string]*shownProcess // by the source's key
	follows   bool

	found []element           // of the run: the keys that are moved, and those of tickers
	spelt map[string][]string // of the run, once it is asked for
}

// Open connects to the source. It returns an error if that is the target, in
// whatever database, or if it cannot be told apart from it.
func Open(ctx context.Context, to *fulloncache.Client, opt Options) (*Migration, error) {
	m := &Migration{
		opt: opt, to: to,
		unchanged: make(map[string]string), wrote: make(map[fulloncache.Series]fulloncache.Bar),
		shown: make(map[string]*shownProcess),
	}
	for _, name := range opt.Kinds {
		if !slices.Contains(Kinds(), name) {
			return nil, fmt.Errorf("%q is nothing that can be moved: want of %v", name, Kinds())
		}
	}
	for _, k := range kinds {
		if len(opt.Kinds) == 0 || slices.Contains(opt.Kinds, k.name) {
			m.kinds = append(m.kinds, k)
		}
	}
	health, err := to.Base.Health(ctx)
	if err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	if m.source, err = connect(opt.Source); err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	id, err := m.source.runID(ctx)
	if err == nil {
		err = apart(id, health.Nodes)
	}
	if err != nil {
		m.source.Close()
		return nil, fmt.Errorf("source: %w", err)
	}
	return m, nil
}

// apart returns an error unless a server is none of the others.
func apart(id string, others []fulloncache.NodeHealth) error {
	for _, n := range others {
		switch {
		case id == "" || n.RunID == "":
			return errors.New("cannot tell it apart from the target: let both users run INFO")
		case id == n.RunID:
			return fmt.Errorf("it is the target, %s: the source is never written to; move to a server of its own", n.Addr)
		}
	}
	return nil
}

// Close ends the connection to the source, and tells that the processes that were
// shown are shown no more.
func (m *Migration) Close(ctx context.Context) (err error) {
	for _, p := range m.shown {
		err = errors.Join(err, p.handle.Stop(ctx, "not shown any more: the migration has ended"))
	}
	m.source.Close()
	return err
}

// wanted reports whether a key is moved, or is needed to move others.
func (m *Migration) wanted(key string) bool {
	if strings.HasPrefix(key, tickers) {
		return true
	}
	return slices.ContainsFunc(m.kinds, func(k kind) bool {
		return slices.ContainsFunc(k.keys, func(k keyed) bool { return k.match(key) })
	})
}

// job is a key that is moved.
type job struct {
	element
	report *Report
	move   func(ctx context.Context, t *tally, e element)
}

// Run moves everything once. Its reports are also of what was done before an error.
func (m *Migration) Run(ctx context.Context) (reports []Report, err error) {
	reports = make([]Report, len(m.kinds))
	for i, k := range m.kinds {
		reports[i].Kind = k.name
	}
	if m.found, err = m.source.elements(ctx, m.wanted); err != nil {
		return reports, fmt.Errorf("source: %w", err)
	}
	m.spelt = nil
	t := &tally{m: m}
	var jobs []job
	for i, k := range m.kinds {
		for _, keys := range k.keys {
			for _, e := range m.found {
				if keys.match(e.key) {
					jobs = append(jobs, job{e, &reports[i], keys.move})
					t.total += e.size
				}
			}
		}
	}
	for _, j := range jobs {
		t.report = j.report
		refused := t.report.Refused
		j.move(ctx, t, j.element)
		if t.fatal != nil || t.report.Refused > refused {
			delete(m.unchanged, j.key) // what was left is tried again
		}
		if t.fatal != nil {
			return reports, t.fatal
		}
	}
	for i := range reports {
		reports[i].sort()
	}
	return reports, m.forget(ctx)
}

// forget ends what is shown of processes of which the source has nothing any more.
func (m *Migration) forget(ctx context.Context) (err error) {
	for key, p := range m.shown {
		if !slices.ContainsFunc(m.found, func(e element) bool { return e.key == key }) {
			delete(m.shown, key)
			err = errors.Join(err, p.handle.Stop(ctx, "the source does not know of it any more"))
		}
	}
	return err
}

// Follow runs again and again, until ctx ends, and tells each time what was done and
// what went wrong. It returns an error that will not pass.
func (m *Migration) Follow(ctx context.Context, every time.Duration, told func([]Report, error)) error {
	m.follows = true
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		reports, err := m.Run(ctx)
		told(reports, err)
		// A server that is away comes back.
		if err != nil && ctx.Err() == nil && !errors.Is(err, fulloncache.ErrUnavailable) && !errors.Is(err, errSource) {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// tally counts what becomes of the records of a kind.
type tally struct {
	m           *Migration
	report      *Report
	done, total int64
	fatal       error // why it cannot go on
}

// found counts records.
func (t *tally) found(n int) {
	t.report.Found += n
	t.done += int64(n)
	if t.m.opt.Progress != nil {
		t.m.opt.Progress(min(t.done, t.total), t.total)
	}
}

// one counts a record and what became of it. It reports false when nothing more can
// be done.
func (t *tally) one(ctx context.Context, name string, err error) bool {
	t.found(1)
	if err == nil {
		t.report.Moved++
	} else {
		t.not(ctx, name, err, 1)
	}
	return t.fatal == nil
}

// not counts records that were found, and not moved.
func (t *tally) not(ctx context.Context, name string, err error, n int) {
	var why skip
	switch {
	case errors.As(err, &why):
		t.because(Skipped, name, why.Error(), n)
	case errors.Is(err, fulloncache.ErrOutdated), errors.Is(err, fulloncache.ErrFinal):
		t.because(Skipped, name, newer.Error(), n)
	case ctx.Err() != nil:
		t.fatal = ctx.Err()
	case errors.Is(err, fulloncache.ErrUnavailable), errors.Is(err, fulloncache.ErrClosed):
		t.fatal = fmt.Errorf("target: %s: %w", name, err)
	case errors.Is(err, errSource):
		t.fatal = fmt.Errorf("source: %s: %w", name, err)
	default:
		t.because(Refused, name, err.Error(), n)
	}
}

// because counts records that were not moved.
func (t *tally) because(outcome, name, why string, n int) {
	if outcome == Skipped {
		t.report.Skipped += n
	} else {
		t.report.Refused += n
	}
	same := func(r Reason) bool { return r.Outcome == outcome && r.Why == why }
	i := slices.IndexFunc(t.report.Reasons, same)
	if i < 0 && len(t.report.Reasons) >= mostReasons {
		why = "other reasons"
		i = slices.IndexFunc(t.report.Reasons, same)
	}
	if i < 0 {
		i = len(t.report.Reasons)
		t.report.Reasons = append(t.report.Reasons, Reason{Outcome: outcome, Why: why})
	}
	r := &t.report.Reasons[i]
	r.Count += n
	if len(r.Records) < mostRecords {
		r.Records = append(r.Records, name)
	}
}

// sort puts the most frequent reasons first.
func (r *Report) sort() {
	slices.SortStableFunc(r.Reasons, func(a, b Reason) int { return b.Count - a.Count })
}

// write writes, unless the run is dry.
func (t *tally) write(do func() error) error {
	if t.m.opt.DryRun {
		return nil
	}
	return do()
}
