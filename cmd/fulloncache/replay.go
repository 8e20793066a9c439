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
	how := pace{}
	cmd := &cobra.Command{
		Use:   "replay [FILE...]",
		Short: "Feed recorded ticks or trades from NDJSON files or standard input",
		Long: `Feed recorded ticks into the cache, from NDJSON files or, without one or for "-", from
standard input: one JSON object a line with exchange, symbol, price, time (RFC 3339, or
seconds since 1970) and perhaps bid, ask, last, volume, numbers as text or as JSON numbers.
Ticks older than what is stored are counted as outdated.

With --trades the lines are trades, which are appended to the lists of their markets as
fast as possible: with exchange, symbol, ex_trade_id, side, price, volume, time and perhaps
cost (or it is price × volume), fee, ex_order_id and what else "trade peek --json" prints.
A list that is full ends the replay, unless the oldest are to be dropped.

A line that is malformed or refused is reported with file, line and reason, and the rest
goes on.`,
		Example: `  fulloncache replay ticks.ndjson --speed 10
  fulloncache replay --trades trades.ndjson --unique 1h`,
	}
	cmd.Flags().StringVar(&how.speed, "speed", "1", `how many times faster than recorded, or "max" (with --trades: max if not given)`)
	cmd.Flags().BoolVar(&how.loop, "loop", false, "begin again at the end, until interrupted; what is fed carries the time of its replay")
	cmd.Flags().BoolVar(&how.strict, "strict", false, "stop at the first malformed or refused line")
	trades := cmd.Flags().Bool("trades", false, "the lines are trades")
	options := pushFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *trades && !cmd.Flags().Changed("speed") {
			how.speed = "max"
		}
		if err := how.parseSpeed(); err != nil {
			return usageError{err}
		}
		if !*trades && len(options()) > 0 {
			return usageError{errors.New("replay: --unique and --drop-oldest are for --trades")}
		}
		if len(args) == 0 {
			args = []string{"-"}
		}
		for _, name := range args {
			if name == "-" && how.loop {
				return usageError{errors.New("replay: --loop needs files: standard input can be read once")}
			}
		}
		return a.withClient(func(cmd *cobra.Command, _ []string, c *fulloncache.Client) error {
			if *trades {
				return (&replay[fulloncache.Trade]{app: a, pace: how, source: tradeSource(c.Trades, options())}).run(cmd.Context(), args)
			}
			return (&replay[fulloncache.Tick]{app: a, pace: how, source: tickSource(c.Ticks)}).run(cmd.Context(), args)
		})(cmd, args)
	}
	return cmd
}

// pace is how a recording is fed.
type pace struct {
	speed  string
	factor float64 // 0: as fast as possible
	loop   bool
	strict bool
}

// source is what the lines of files hold.
type source[T any] struct {
	parse func(line []byte) (T, error)
	when  func(*T) *time.Time
	// push feeds some, and adds to the counts what became of them; of its errors
	// those of single ones come in a BatchError.
	push func(ctx context.Context, list []T, count *counts) error
	// sum is the summary, for programs and for people.
	sum func(c counts) (any, string)
}

// replay feeds files.
type replay[T any] struct {
	app *app // not embedded: each instance would get all its methods
	pace
	source[T]
	bar *bar

	start time.Time // when the pass began
	first time.Time // the time of the first one in it
	count counts
}

// counts are what became of the lines.
type counts struct {
	Read     int   `json:"read"`
	Applied  int   `json:"applied"`
	Outdated int   `json:"outdated"`
	Rejected int   `json:"rejected"`
	Elapsed  int64 `json:"elapsed_ms"`

	pushed fulloncache.Pushed // of trades
}

func (r *pace) parseSpeed() error {
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
func (r *replay[T]) run(ctx context.Context, files []string) error {
	begin := time.Now()
	r.bar = newBar(r.app.stderr, files)
	err := r.pass(ctx, files)
	for err == nil && r.loop {
		err = r.pass(ctx, files)
	}
	r.bar.done()
	r.count.Elapsed = time.Since(begin).Milliseconds()
	sum, text := r.sum(r.count)
	if perr := r.app.print(sum, "%s", text); perr != nil {
		return errors.Join(err, perr)
	}
	if errors.Is(err, context.Canceled) {
		return nil // interrupted
	}
	return err
}

func (r *replay[T]) pass(ctx context.Context, files []string) error {
	r.start, r.first = time.Now(), time.Time{}
	for _, name := range files {
		if err := r.file(ctx, name); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (r *replay[T]) file(ctx context.Context, name string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lines, done, err := r.app.lines(ctx, name)
	if err != nil {
		return err
	}
	defer done()

	// What has been read is sent at once; while a batch is under way the next one
	// gathers, so that a slow source is not held up and a fast one is batched.
	for {
		var batch []item[T]
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
			v, err := r.parse(l.text)
			if err != nil {
				if err := r.reject(name, l.number, err); err != nil {
					return err
				}
				continue
			}
			when := r.when(&v)
			if r.first.IsZero() {
				r.first = *when
			}
			due := r.due(*when)
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
				if *when = due; r.factor == 0 {
					*when = time.Now()
				}
			}
			batch = append(batch, item[T]{l.number, v})
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

// batchSize is how many are sent at once.
const batchSize = 500

// due is when what happened at t is to be sent.
func (r *replay[T]) due(t time.Time) time.Time {
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

// item is what a line holds.
type item[T any] struct {
	number int
	value  T
}

func (r *replay[T]) send(ctx context.Context, name string, batch []item[T]) error {
	if len(batch) == 0 {
		return nil
	}
	list := make([]T, len(batch))
	for i, it := range batch {
		list[i] = it.value
	}
	err := r.push(ctx, list, &r.count)
	var failed *fulloncache.BatchError
	if err == nil || !errors.As(err, &failed) {
		return err
	}
	for i, err := range failed.Errs {
		switch {
		case err == nil:
		case errors.Is(err, fulloncache.ErrOutdated):
			r.count.Outdated++
		case errors.Is(err, fulloncache.ErrInvalid), errors.Is(err, fulloncache.ErrCorrupt):
			if err := r.reject(name, batch[i].number, err); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s:%d: %w", name, batch[i].number, err)
		}
	}
	return nil
}

// reject counts and reports a line that cannot be used.
func (r *replay[T]) reject(name string, number int, err error) error {
	r.count.Rejected++
	err = fmt.Errorf("%s:%d: %w", name, number, err)
	if r.strict {
		return err
	}
	r.bar.clear()
	r.app.warn(err)
	return nil
}

// tickSource feeds ticks.
func tickSource(ticks *fulloncache.TickCache) source[fulloncache.Tick] {
	return source[fulloncache.Tick]{
		parse: parseTick,
		when:  func(t *fulloncache.Tick) *time.Time { return &t.Time },
		push: func(ctx context.Context, list []fulloncache.Tick, count *counts) error {
			err := ticks.SetMany(ctx, list)
			var failed *fulloncache.BatchError
			switch {
			case err == nil:
				count.Applied += len(list)
			case errors.As(err, &failed):
				count.Applied += len(list) - len(failed.Unwrap())
			}
			return err
		},
		sum: func(c counts) (any, string) {
			return c, fmt.Sprintf("%d read: %d applied, %d outdated, %d rejected, in %d ms", c.Read, c.Applied, c.Outdated, c.Rejected, c.Elapsed)
		},
	}
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
	t = fulloncache.Tick{Market: raw.Market, Price: *raw.Price, Bid: raw.Bid, Ask: raw.Ask, Last: raw.Last, Volume: raw.Volume}
	if t.Time, err = parseJSONTime(raw.Time); err != nil {
		return t, err
	}
	return t, t.Validate()
}

// parseJSONTime reads a time, as text or as a JSON number.
func parseJSONTime(value json.RawMessage) (time.Time, error) {
	text := string(value)
	if s, err := strconv.Unquote(text); err == nil {
		text = s
	}
	return parseWhen(text)
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
