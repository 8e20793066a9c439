package legacy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fullon/fulloncache"
)

// moveBars moves the bars of a list that the target has none of, by their times. The
// source has one more element for each change of the bar that is not closed: the last
// one counts.
func moveBars(ctx context.Context, t *tally, e element) {
	texts := t.list(ctx, e, 0, "")
	if len(texts) == 0 {
		return
	}
	series, err := t.m.series(ctx, rest(e.key))
	if err != nil {
		t.found(len(texts))
		t.not(ctx, e.key, err, len(texts))
		return
	}
	var bars []fulloncache.Bar
	at := make(map[time.Time]int)
	for _, text := range texts {
		bar, err := readBar(text)
		if err == nil {
			err = bar.Validate(series.Timeframe)
		}
		if err != nil {
			t.one(ctx, e.key, err)
			continue
		}
		i, again := at[bar.Time]
		if again {
			t.one(ctx, e.key, skip("a later one of the same time follows"))
			bars[i] = bar
			continue
		}
		at[bar.Time] = len(bars)
		bars = append(bars, bar)
	}
	if len(bars) > 0 {
		t.bars(ctx, e.key, series, bars)
	}
}

// bars appends what the target has not, but for the bar that this migration wrote
// last: it is not closed yet.
func (t *tally) bars(ctx context.Context, key string, series fulloncache.Series, bars []fulloncache.Bar) {
	t.found(len(bars))
	some, err := t.m.missing(ctx, series, bars)
	if err == nil && len(some) > 0 {
		err = t.write(func() error {
			_, err := t.m.to.OHLCV.Append(ctx, series, some, fulloncache.KeepAll())
			return err
		})
	}
	if err != nil {
		t.not(ctx, key, err, len(bars))
		return
	}
	if n := len(bars) - len(some); n > 0 {
		t.because(Skipped, key, there.Error(), n)
	}
	t.report.Moved += len(some)
	for _, b := range some {
		if !b.Time.Before(t.m.wrote[series].Time) {
			t.m.wrote[series] = b
		}
	}
}

// missing are the bars that are to be appended.
func (m *Migration) missing(ctx context.Context, series fulloncache.Series, bars []fulloncache.Bar) (some []fulloncache.Bar, err error) {
	byTime := func(a, b fulloncache.Bar) int { return a.Time.Compare(b.Time) }
	from, to := slices.MinFunc(bars, byTime).Time, slices.MaxFunc(bars, byTime).Time
	has, err := m.to.OHLCV.Range(ctx, series, from, to.Add(time.Second))
	if err != nil && !errors.Is(err, fulloncache.ErrNotFound) {
		return nil, err
	}
	last := m.wrote[series]
	keep := make(map[time.Time]bool, len(has))
	for _, b := range has {
		keep[b.Time] = !b.Equal(last)
	}
	for _, b := range bars {
		if !keep[b.Time] && !b.Equal(last) {
			some = append(some, b)
		}
	}
	return some, nil
}

// series is what the rest of the key of bars stands for: symbol and timeframe.
func (m *Migration) series(ctx context.Context, name string) (s fulloncache.Series, err error) {
	i := strings.LastIndexByte(name, ':')
	if i < 0 {
		return s, errors.New("its key names no timeframe")
	}
	if s.Timeframe, err = fulloncache.ParseTimeframe(name[i+1:]); err != nil {
		return s, err
	}
	if m.opt.BarsExchange == "" {
		return s, errors.New("nothing tells of what exchange the bars are: name it with --bars-exchange")
	}
	s.Exchange, s.Symbol = m.opt.BarsExchange, name[:i]
	if strings.Contains(s.Symbol, "/") {
		return s, nil
	}
	s.Symbol, err = m.symbol(ctx, s.Symbol)
	return s, err
}

// symbol is a symbol with its slash, as the options or the tickers of the source
// spell it.
func (m *Migration) symbol(ctx context.Context, bare string) (string, error) {
	if s := m.opt.Symbols[bare]; s != "" {
		return s, nil
	}
	var err error
	if m.spelt == nil {
		m.spelt, err = m.spellings(ctx)
	}
	names := m.spelt[bare]
	switch {
	case len(names) > 1:
		err = errors.Join(err, fmt.Errorf("%q may be each of %q: say which with --symbol %s=BASE/QUOTE", bare, names, bare))
	case len(names) == 0:
		err = errors.Join(err, fmt.Errorf("nothing tells what %q is: say so with --symbol %s=BASE/QUOTE", bare, bare))
	}
	return strings.Join(names, " "), err
}

// spellings are the symbols of the tickers, by what they are without their slash. They
// are read once for all bars of a run.
func (m *Migration) spellings(ctx context.Context) (spelt map[string][]string, err error) {
	spelt = make(map[string][]string)
	for _, e := range m.found {
		if e.kind != "hash" || !strings.HasPrefix(e.key, tickers) {
			continue // what is no hash is refused with the ticks
		}
		pairs, herr := m.source.hash(ctx, e.key)
		err = errors.Join(err, herr)
		for _, pair := range pairs {
			symbol, bare := pair[0], strings.ReplaceAll(pair[0], "/", "")
			if symbol != bare && !slices.Contains(spelt[bare], symbol) {
				spelt[bare] = append(spelt[bare], symbol)
			}
		}
	}
	return spelt, err
}

// readBar reads [time, open, high, low, close, volume].
func readBar(text string) (b fulloncache.Bar, err error) {
	var values []json.Number
	if err := json.Unmarshal([]byte(text), &values); err != nil || len(values) < 6 {
		return b, errors.New("it is no list of time, open, high, low, close and volume")
	}
	if b.Time, err = readTime(values[0].String()); err != nil {
		return b, err
	}
	for i, to := range []*fulloncache.Decimal{&b.Open, &b.High, &b.Low, &b.Close, &b.Volume} {
		if *to, err = fulloncache.ParseDecimal(values[i+1].String()); err != nil {
			return b, err
		}
	}
	return b, nil
}
