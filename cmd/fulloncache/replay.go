package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fullon/fulloncache"
)

func (a *app) replayCommand() *cobra.Command {
	r := replay{app: a}
	cmd := &cobra.Command{
		Use:   "replay [FILE...]",
		Short: "Feed recorded ticks from NDJSON files or standard input",
		Long: `Feed recorded ticks into the cache, from NDJSON files or, without one or for "-", from
standard input: one JSON object a line with exchange, symbol, price, time (RFC 3339, or
seconds since 1970) and perhaps bid, ask, last, volume, numbers as text or as JSON numbers.

A line that is malformed or refused is reported with file, line and reason, and the rest
goes on. Ticks older than what is stored are counted as outdated.`,
	}
	cmd.Flags().StringVar(&r.speed, "speed", "1", `how many times faster than recorded, or "max"`)
	cmd.Flags().BoolVar(&r.loop, "loop", false, "begin again at the end, until interrupted; ticks carry the time of their replay")
	cmd.Flags().BoolVar(&r.strict, "strict", false, "stop at the first malformed or refused line")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := r.parseSpeed(); err != nil {
			return usageError{err}
		}
		if len(args) == 0 {
			args = []string{"-"}
		}
		for _, name := range args {
			if name == "-" && r.loop {
				return usageError{errors.New("replay: --loop needs files: standard input can be read once")}
			}
		}
		return a.withClient(func(cmd *cobra.Command, _ []string, c *fulloncache.Client) error {
			r.ticks = c.Ticks
			return r.run(cmd.Context(), args)
		})(cmd, args)
	}
	return cmd
}

// replay feeds files.
type replay struct {
	*app
	ticks  *fulloncache.TickCache
	speed  string
	factor float64 // 0: as fast as possible
	loop   bool
	strict bool
	bar    *bar

	start time.Time // when the pass began
	first time.Time // the time of its first tick
	count counts
}

// counts is the summary.
type counts struct {
	Read     int   `json:"read"`
	Applied  int   `json:"applied"`
	Outdated int   `json:"outdated"`
	Rejected int   `json:"rejected"`
	Elapsed  int64 `json:"elapsed_ms"`
}

func (r *replay) parseSpeed() error {
	if r.speed == "max" {
		return nil
	}
	factor, err := strconv.ParseFloat(r.speed, 64)
	// NaN and infinities compare false.
	if err != nil || !(factor > 0 && factor <= 1e9) {
		return fmt.Errorf(`--speed %q: want a number above 0, or "max"`, r.speed)
	}
	r.factor = factor
	return nil
}

// run feeds the files and prints the summary, also of what was done before a
// failure or an interrupt.
func (r *replay) run(ctx context.Context, files []string) error {
	begin := time.Now()
	r.bar = newBar(r.stderr, files)
	err := r.pass(ctx, files)
	for err == nil && r.loop {
		err = r.pass(ctx, files)
	}
	r.bar.done()
	r.count.Elapsed = time.Since(begin).Milliseconds()
	if perr := r.print(r.count, "%d read: %d applied, %d outdated, %d rejected, in %d ms",
		r.count.Read, r.count.Applied, r.count.Outdated, r.count.Rejected, r.count.Elapsed); perr != nil {
		return errors.Join(err, perr)
	}
	if errors.Is(err, context.Canceled) {
		return nil // interrupted
	}
	return err
}

func (r *replay) pass(ctx context.Context, files []string) error {
	r.start, r.first = time.Now(), time.Time{}
	for _, name := range files {
		if err := r.file(ctx, name); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (r *replay) file(ctx context.Context, name string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lines, done, err := r.lines(ctx, name)
	if err != nil {
		return err
	}
	defer done()

	// What has been read is sent at once; while a batch is under way the next one
	// gathers, so that a slow source is not held up and a fast one is batched.
	for {
		var batch []item
		var end error
		for len(batch) < batchSize && end == nil {
			var l line
			if len(batch) > 0 && len(lines) == 0 {
				break
			}
			select {
			case l = <-lines:
			case <-ctx.Done():
				return ctx.Err()
			}
			if end = l.err; end != nil || len(bytes.TrimSpace(l.text)) == 0 {
				continue
			}
			r.count.Read++
			r.bar.add(len(l.text) + 1)
			tick, err := parseTick(l.text)
			if err != nil {
				if err := r.reject(name, l.number, err); err != nil {
					return err
				}
				continue
			}
			if r.first.IsZero() {
				r.first = tick.Time
			}
			due := r.due(tick.Time)
			if wait := time.Until(due); r.factor > 0 && wait > 0 {
				// Those that were due earlier go first.
				if err := r.send(ctx, name, batch); err != nil {
					return err
				}
				batch = nil
				if err := sleep(ctx, wait); err != nil {
					return err
				}
			}
			if r.loop {
				if tick.Time = due; r.factor == 0 {
					tick.Time = time.Now()
				}
			}
			batch = append(batch, item{l.number, tick})
		}
		if err := r.send(ctx, name, batch); err != nil {
			return err
		}
		if errors.Is(end, io.EOF) {
			return nil
		}
		if end != nil {
			return fmt.Errorf("%s: %w", name, end)
		}
	}
}

// batchSize is how many ticks are sent at once.
const batchSize = 500

// due is when a tick is to be sent.
func (r *replay) due(t time.Time) time.Time {
	if r.factor == 0 {
		return r.start
	}
	return r.start.Add(time.Duration(float64(t.Sub(r.first)) / r.factor))
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// item is a tick and the line it came from.
type item struct {
	number int
	tick   fulloncache.Tick
}

func (r *replay) send(ctx context.Context, name string, batch []item) error {
	if len(batch) == 0 {
		return nil
	}
	ticks := make([]fulloncache.Tick, len(batch))
	for i, it := range batch {
		ticks[i] = it.tick
	}
	err := r.ticks.SetMany(ctx, ticks)
	var failed *fulloncache.BatchError
	if err != nil && !errors.As(err, &failed) {
		return err
	}
	for i, it := range batch {
		var err error
		if failed != nil {
			err = failed.Errs[i]
		}
		switch {
		case err == nil:
			r.count.Applied++
		case errors.Is(err, fulloncache.ErrOutdated):
			r.count.Outdated++
		case errors.Is(err, fulloncache.ErrInvalid), errors.Is(err, fulloncache.ErrCorrupt):
			if err := r.reject(name, it.number, err); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s:%d: %w", name, it.number, err)
		}
	}
	return nil
}

// reject counts and reports a line that cannot be used.
func (r *replay) reject(name string, number int, err error) error {
	r.count.Rejected++
	err = fmt.Errorf("%s:%d: %w", name, number, err)
	if r.strict {
		return err
	}
	r.bar.clear()
	r.warn(err)
	return nil
}

// parseTick reads a line.
func parseTick(text []byte) (t fulloncache.Tick, err error) {
	var raw struct {
		fulloncache.Market
		Price  *fulloncache.Decimal
		Bid    fulloncache.NullDecimal
		Ask    fulloncache.NullDecimal
		Last   fulloncache.NullDecimal
		Volume fulloncache.NullDecimal
		Time   json.RawMessage
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return t, err
	}
	if raw.Price == nil {
		return t, errors.New("price is missing")
	}
	when := string(raw.Time)
	if s, err := strconv.Unquote(when); err == nil {
		when = s
	}
	t = fulloncache.Tick{Market: raw.Market, Price: *raw.Price, Bid: raw.Bid, Ask: raw.Ask, Last: raw.Last, Volume: raw.Volume}
	if t.Time, err = parseWhen(when); err != nil {
		return t, err
	}
	return t, t.Validate()
}

// parseWhen reads a time: RFC 3339, or seconds since 1970 with up to nine
// decimals, exactly.
func parseWhen(s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t.UTC(), nil
	}
	whole, frac, _ := strings.Cut(s, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	nanos, ferr := strconv.ParseUint((frac + "000000000")[:9], 10, 64)
	if err != nil || ferr != nil || seconds < 0 || len(frac) > 9 && strings.Trim(frac[9:], "0") != "" {
		return time.Time{}, fmt.Errorf("time %q: want RFC 3339 or seconds since 1970", s)
	}
	return time.Unix(seconds, int64(nanos)).UTC(), nil
}
