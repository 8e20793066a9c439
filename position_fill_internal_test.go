package fulloncache

import (
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fullon/fulloncache/internal/testenv"
)

// rounded is r with 18 places, half-even, the slow way.
func rounded(r *big.Rat) *big.Rat {
	scaled := new(big.Rat).Mul(r, new(big.Rat).SetInt(power(18)))
	n := new(big.Int).Div(scaled.Num(), scaled.Denom()) // down, also below 0
	rest := new(big.Rat).Sub(scaled, new(big.Rat).SetInt(n))
	if c := rest.Cmp(big.NewRat(1, 2)); c > 0 || c == 0 && n.Bit(0) == 1 {
		n.Add(n, big.NewInt(1))
	}
	return new(big.Rat).SetFrac(n, power(18))
}

// ledger is the naive model: average cost with fractions, never rounded but for
// what a fill costs.
type ledger struct {
	volume, cost, profit, fees, cash *big.Rat // volume and cost are negative where it is short
	fills                            int64
}

func newLedger() *ledger {
	return &ledger{new(big.Rat), new(big.Rat), new(big.Rat), new(big.Rat), new(big.Rat), 0}
}

// paid is what a fill costs.
func paid(t *Trade) *big.Rat {
	if !t.Cost.IsZero() {
		return t.Cost.rat()
	}
	exact := new(big.Rat).Mul(t.Volume.rat(), t.Price.rat())
	if places, ok := exact.FloatPrec(); ok && places <= MaxDecimalPlaces {
		return exact
	}
	return rounded(exact)
}

func (l *ledger) apply(t *Trade) {
	l.fills++
	volume, cost := t.Volume.rat(), paid(t)
	if t.Side == Sell {
		volume.Neg(volume)
		cost.Neg(cost)
	}
	l.cash.Sub(l.cash, cost)
	l.fees.Add(l.fees, t.Fee.rat())
	for volume.Sign() != 0 {
		part := new(big.Rat).Set(volume)
		if l.volume.Sign()*volume.Sign() < 0 && new(big.Rat).Abs(volume).Cmp(new(big.Rat).Abs(l.volume)) > 0 {
			part.Neg(l.volume) // first to 0, then the rest
		}
		its := new(big.Rat).Mul(cost, new(big.Rat).Quo(part, volume))
		if l.volume.Sign()*part.Sign() >= 0 {
			l.cost.Add(l.cost, its)
		} else {
			released := new(big.Rat).Mul(l.cost, new(big.Rat).Quo(new(big.Rat).Neg(part), l.volume))
			l.cost.Sub(l.cost, released)
			// Long: its is negative, what a sale brought; short: what closing cost.
			l.profit.Sub(l.profit, new(big.Rat).Add(its, released))
		}
		l.volume.Add(l.volume, part)
		volume.Sub(volume, part)
		cost.Sub(cost, its)
	}
}

// agrees checks the position: exactly where nothing is rounded, and everywhere that
// cost and profit are conserved.
func (l *ledger) agrees(t rapid.TB, p Position) {
	t.Helper()
	volume, cost := p.Volume.rat(), p.Cost.rat()
	if p.Side == Short {
		volume.Neg(volume)
		cost.Neg(cost)
	}
	if volume.Cmp(l.volume) != 0 || p.Fees.rat().Cmp(l.fees) != 0 {
		t.Fatalf("%+v: volume or fees: want %s and %s", p, l.volume.FloatString(20), l.fees.FloatString(20))
	}
	// All that came in and went out is profit, or cost of what is open.
	if flow := new(big.Rat).Sub(p.RealisedProfit.rat(), cost); flow.Cmp(l.cash) != 0 {
		t.Fatalf("%+v: profit and cost make %s, and the cash is %s", p, flow.FloatString(20), l.cash.FloatString(20))
	}
	// Each fill rounds once, by half of the last place at most.
	bound := new(big.Rat).SetFrac(big.NewInt(l.fills), power(18))
	for _, x := range []struct{ got, want *big.Rat }{{cost, l.cost}, {p.RealisedProfit.rat(), l.profit}} {
		if d := new(big.Rat).Sub(x.got, x.want); d.Abs(d).Cmp(bound) > 0 {
			t.Fatalf("%+v: %s is not near %s", p, x.got.FloatString(20), x.want.FloatString(20))
		}
	}
	if p.Cost.Sign() < 0 || p.Volume.Sign() < 0 || p.Flat() != p.Volume.IsZero() {
		t.Fatalf("%+v is none", p)
	}
	average := new(big.Rat)
	if !p.Flat() {
		average = rounded(new(big.Rat).Quo(p.Cost.rat(), p.Volume.rat()))
	} else if !p.Cost.IsZero() {
		t.Fatalf("%+v: flat at a cost", p)
	}
	if p.AvgPrice.rat().Cmp(average) != 0 {
		t.Fatalf("%+v: average price %s", p, average.FloatString(20))
	}
	if _, err := p.complete(); err != nil {
		t.Fatalf("%+v cannot be stored: %v", p, err)
	}
}

func decimals(least, most int64, places int) *rapid.Generator[Decimal] {
	return rapid.Custom(func(t *rapid.T) Decimal {
		d, err := NewDecimal(rapid.Int64Range(least, most).Draw(t, "digits"), rapid.IntRange(0, places).Draw(t, "places"))
		if err != nil {
			t.Fatal(err)
		}
		return d
	})
}

// fillsOf draws fills: mostly of sizes that meet again, so that they close.
func fillsOf(t *rapid.T) []*Trade {
	sizes := rapid.SliceOfN(rapid.OneOf(decimals(1, 20, 3), decimals(1, 1e12, 19)), 1, 4).Draw(t, "sizes")
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) *Trade {
		trade := &Trade{
			Side:   rapid.SampledFrom([]Side{Buy, Sell}).Draw(t, "side"),
			Volume: rapid.SampledFrom(sizes).Draw(t, "volume"),
			Price:  rapid.OneOf(decimals(1, 1000, 2), decimals(1, 1e9, 19)).Draw(t, "price"),
			Fee:    decimals(-1000, 1e6, 19).Draw(t, "fee"),
			Time:   time.Unix(rapid.Int64Range(0, 100).Draw(t, "time"), 0),
		}
		if rapid.Bool().Draw(t, "has a cost") {
			trade.Cost = decimals(0, 1e12, 19).Draw(t, "cost")
		}
		return trade
	}), 1, 40).Draw(t, "fills")
}

// Cost and profit are conserved over any fills, and what a naive model finds with
// fractions is found here, but for the last place.
func TestFillsConserveCostAndProfit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var p Position
		p.Account, p.Symbol = Account{1, "kraken"}, "BTC/USD"
		l := newLedger()
		newest := time.Time{}
		for _, fill := range fillsOf(t) {
			next, err := p.apply(fill)
			if err != nil {
				// A price of more than 38 digits; nothing counts.
				if !errors.Is(err, ErrInvalid) {
					t.Fatal(err)
				}
				continue
			}
			p = next
			if fill.Time.After(newest) {
				newest = fill.Time
			}
			l.apply(fill)
			l.agrees(t, p)
			if !p.Time.Equal(newest) {
				t.Fatalf("%+v: the newest fill is of %s", p, newest)
			}
		}
	})
}

// What is stored comes back.
func TestPositionCodec(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := Position{Account: Account{rapid.Int64Range(1, 1<<40).Draw(t, "uid"), ""}}
		text := rapid.StringMatching(`[a-zA-Z/"\\:{} \n\x{1f600}-]{1,12}`)
		p.Exchange, p.Symbol = text.Draw(t, "exchange"), text.Draw(t, "symbol")
		for _, fill := range fillsOf(t) {
			if next, err := p.apply(fill); err == nil {
				p = next
			}
		}
		if p.Side == "" {
			return
		}
		p.Rev = rapid.Int64Range(1, 1<<53).Draw(t, "rev")
		stored := withRevision(p.Rev, p.encode())
		got, err := readPosition("key", p.Account, p.Symbol, stored)
		if err != nil || !got.Equal(p) || got.Rev != p.Rev || got.text != stored {
			t.Fatalf("%s: got %+v, %v\nwant %+v", stored, got, err, p)
		}
		m, err := readPositionMessage("channel", "P "+stored)
		if err != nil || m.kind != messagePosition || !m.position.Equal(p) {
			t.Fatalf("message: got %+v, %v", m, err)
		}
	})
}

func TestFillArithmetic(t *testing.T) {
	t.Parallel()
	d := MustDecimal
	for _, c := range []struct {
		name  string
		fills string // side volume price
		want  Position
	}{
		{"open", "buy 2 100", Position{Side: Long, Volume: d("2"), Cost: d("200"), AvgPrice: d("100")}},
		{"add", "buy 1 100, buy 2 130", Position{Side: Long, Volume: d("3"), Cost: d("360"), AvgPrice: d("120")}},
		{"reduce", "buy 3 100, sell 1 110", Position{Side: Long, Volume: d("2"), Cost: d("200"), AvgPrice: d("100"), RealisedProfit: d("10")}},
		{"close", "buy 3 100, sell 3 90", Position{Side: Flat, RealisedProfit: d("-30")}},
		{"flip", "buy 1 100, sell 3 110", Position{Side: Short, Volume: d("2"), Cost: d("220"), AvgPrice: d("110"), RealisedProfit: d("10")}},
		{"open short", "sell 2 100", Position{Side: Short, Volume: d("2"), Cost: d("200"), AvgPrice: d("100")}},
		{"reduce short", "sell 2 100, buy 1 90", Position{Side: Short, Volume: d("1"), Cost: d("100"), AvgPrice: d("100"), RealisedProfit: d("10")}},
		{"close short", "sell 2 100, buy 2 90", Position{Side: Flat, RealisedProfit: d("20")}},
		{"flip short", "sell 1 100, buy 3 90", Position{Side: Long, Volume: d("2"), Cost: d("180"), AvgPrice: d("90"), RealisedProfit: d("10")}},
		{"open again", "buy 1 100, sell 1 110, sell 1 120", Position{Side: Short, Volume: d("1"), Cost: d("120"), AvgPrice: d("120"), RealisedProfit: d("10")}},
		{"cost as given", "buy 2 100 201", Position{Side: Long, Volume: d("2"), Cost: d("201"), AvgPrice: d("100.5")}},
		{
			"a third, and what is left", "buy 3 1 1, sell 1 1",
			Position{
				Side: Long, Volume: d("2"), Cost: d("0.666666666666666667"), AvgPrice: d("0.333333333333333334"),
				RealisedProfit: d("0.666666666666666667"),
			},
		},
		{"a tie to even, down", "buy 2 1 5e-18, sell 1 1", Position{Side: Long, Volume: d("1"), Cost: d("3e-18"), AvgPrice: d("3e-18"), RealisedProfit: d("0.999999999999999998")}},
		{"a tie to even, up", "buy 2 1 7e-18, sell 1 1", Position{Side: Long, Volume: d("1"), Cost: d("3e-18"), AvgPrice: d("3e-18"), RealisedProfit: d("0.999999999999999996")}},
		{"no more than there is", "buy 1 1 9e-19, sell 0.9 1", Position{Side: Long, Volume: d("0.1"), RealisedProfit: d("0.8999999999999999991")}},
		{"a product of 19 places", "buy 1e-10 1e-9", Position{Side: Long, Volume: d("1e-10"), Cost: d("1e-19"), AvgPrice: d("1e-9")}},
		{"a product of 20 places", "buy 1e-10 0.0150000005", Position{Side: Long, Volume: d("1e-10"), Cost: d("1.5e-12"), AvgPrice: d("0.015")}},
	} {
		p := Position{}
		for _, fill := range splitFills(c.fills) {
			next, err := p.apply(fill)
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			p = next
		}
		p.Time = time.Time{}
		if !p.Equal(c.want) {
			t.Errorf("%s: got %+v, want %+v", c.name, p, c.want)
		}
	}
}

// splitFills reads "side volume price cost, …"; the cost may be left out.
func splitFills(text string) (fills []*Trade) {
	for part := range strings.SplitSeq(text, ", ") {
		words := append(strings.Fields(part), "0")
		fills = append(fills, &Trade{Side: Side(words[0]), Volume: MustDecimal(words[1]), Price: MustDecimal(words[2]), Cost: MustDecimal(words[3])})
	}
	return fills
}

// What a Decimal cannot hold is refused, and says what.
func TestFillThatDoesNotFit(t *testing.T) {
	t.Parallel()
	huge := "99999999999999999999999999999999999999"
	for _, c := range []struct{ fills, want string }{
		{"buy 10 " + huge, "cost: "},
		{"buy " + huge + " 1 1, buy 1 1", "the position's volume: "},
		{"buy 1 1 " + huge + ", buy 1e-19 1 1", "the position's cost: "},
		{"buy 7e-19 1 1000", "the position's avg_price: "},
	} {
		p, fills := Position{}, splitFills(c.fills)
		for i, fill := range fills {
			next, err := p.apply(fill)
			if last := i == len(fills)-1; last != (err != nil) {
				t.Fatalf("%s: fill %d: %v", c.fills, i, err)
			}
			if err != nil && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%s: %v, want %q", c.fills, err, c.want)
			}
			p = next
		}
	}
	// Sums can have more digits than what was read.
	sum := MustDecimal(huge)
	for range 40 {
		sum = sum.Add(sum)
	}
	if sum.fits() || MustDecimal(huge).Add(MustDecimal("1")).fits() || !MustDecimal(huge).fits() || !MustDecimal("-1e-19").fits() {
		t.Error("what has 38 digits fits, and nothing else does")
	}
	if got := sum.units(); got.Cmp(new(big.Int).Lsh(MustDecimal(huge).units(), 40)) != 0 {
		t.Errorf("%s is %s units", sum, got)
	}
}

// The memory is bounded, and forgets others first.
func TestPositionMemoryIsBounded(t *testing.T) {
	t.Parallel()
	m := newPositionMemory()
	name := func(n int) positionName { return positionName{Account{int64(n), "kraken"}, "A"} }
	for n := range 2 * maxRemembered {
		m.remember(name(n), storedPosition{text: "x"})
		m.remember(name(n), storedPosition{text: "y"})
		if m.recall(name(n)).text != "y" {
			t.Fatalf("%d is forgotten", n)
		}
	}
	if len(m.known) != maxRemembered {
		t.Errorf("%d are remembered", len(m.known))
	}
}

const (
	goodPosition = `{"rev":7,"time":"2026-01-02T03:04:05.000000006Z","uid":123,"exchange":"kraken","symbol":"A/B","side":"long","volume":2,"cost":3,"fees":-0.5,"realised_profit":1}`
	goodTold     = `{"rev":8,"time":"2026-01-02T03:04:05.000000006Z","uid":123,"exchange":"kraken","whole":true}`
)

func TestReadPositionMessage(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]positionMessage{
		"R 5":                      {kind: "R"},
		"S " + goodTold:            {kind: "S", position: Position{Account: Account{123, "kraken"}, Rev: 8}},
		"D 9 123 6\nkrakenA/B":     {kind: "D", position: Position{Account: Account{123, "kraken"}, Symbol: "A/B", Rev: 9}},
		"D 9 123 7\nkrak\nen A\n/": {kind: "D", position: Position{Account: Account{123, "krak\nen"}, Symbol: " A\n/", Rev: 9}},
	} {
		m, err := readPositionMessage("channel", message)
		if err != nil || m != want {
			t.Errorf("%q: got %+v, %v", message, m, err)
		}
	}
	m, err := readPositionMessage("channel", "P "+goodPosition)
	if err != nil || m.position.Rev != 7 || m.position.AvgPrice.String() != "1.5" || m.position.Time.Nanosecond() != 6 {
		t.Errorf("got %+v, %v", m, err)
	}
	for _, message := range []string{
		"", "X", "P", "P x", "S x", "S {}", "S " + strings.Replace(goodTold, "8", "0", 1), "S " + strings.Replace(goodTold, "2026", "1026", 1), "S " + strings.Replace(goodTold, "123", "0", 1),
		"D", "D 1", "D x 123 6\nkrakenA", "D 1 123 -1\nkrakenA", "D 1 123 8\nkrakenA", "D 1 123 7\nkrakenA", "D 1 0 6\nkrakenA", "D 1 123 0\nA",
	} {
		_, err := readPositionMessage("channel", message)
		var corrupt *CorruptError
		if !errors.As(err, &corrupt) || corrupt.Key != "channel" {
			t.Errorf("%q: got %v", message, err)
		}
	}
}

// Every change is told once, each with a revision of its own, and so is that all were
// told.
func TestPositionChangesAreTold(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	client := newClient(t)
	c, a := client.Accounts, Account{123, "kraken"}
	held := func(symbol string, n int) Position {
		p := Position{Account: a, Symbol: symbol, Side: Long, Time: time.Unix(int64(1_700_000_000+n), 0).UTC()}
		p.Volume, p.Cost = MustDecimal("2"), MustDecimal("6")
		return p
	}
	last := int64(0)
	for _, step := range []struct {
		what, want string
		do         func() error
	}{
		{"the first", "P:A/B R", func() error { return c.UpsertPosition(ctx, held("A/B", 1)) }},
		{"another", "P:C/B", func() error { return c.UpsertPosition(ctx, held("C/B", 1)) }},
		{"all: one more, one less", "D:C/B P:A/B P:E/B S:", func() error {
			return c.ReplacePositions(ctx, a, held("", 2).Time, []Position{held("A/B", 2), held("E/B", 2)})
		}},
		{"all, and there are none", "D:A/B D:E/B S:", func() error { return c.ReplacePositions(ctx, a, held("", 3).Time, nil) }},
		{"nothing to delete", "", func() error { return c.DeletePosition(ctx, a, "A/B") }},
		{"two again", "P:A/B", func() error { return c.UpsertPosition(ctx, held("A/B", 4)) }},
		{"two again", "P:C/B", func() error { return c.UpsertPosition(ctx, held("C/B", 4)) }},
		{"one is deleted", "D:A/B", func() error { return c.DeletePosition(ctx, a, "A/B") }},
		{"two again", "P:A/B", func() error { return c.UpsertPosition(ctx, held("A/B", 5)) }},
		{"all are deleted", "D:A/B D:C/B", func() error { _, err := c.ClearPositions(ctx, a); return err }},
	} {
		messages := toldOn(t, []string{c.keys.PositionsChannel(a.UserID, a.Exchange), c.keys.PositionRevChannel(a.UserID)}, func() {
			if err := step.do(); err != nil && !errors.Is(err, ErrNotFound) {
				t.Error(step.what, err)
			}
		})
		var told []string
		for _, text := range messages {
			m, err := readPositionMessage("channel", text)
			switch {
			case err != nil:
				t.Error(step.what, err)
			case m.kind == messageReset:
				told = append(told, m.kind)
				continue
			case m.position.Rev <= last:
				t.Errorf("%s: %q after revision %d", step.what, text, last)
			}
			last = m.position.Rev
			told = append(told, m.kind+":"+m.position.Symbol)
		}
		slices.Sort(told) // of one change, in no order
		if got := strings.Join(told, " "); got != step.want {
			t.Errorf("%s: told %q, want %q", step.what, got, step.want)
		}
	}
}

func FuzzReadPosition(f *testing.F) {
	for _, text := range []string{goodPosition, goodTold, "{}", "", strings.ReplaceAll(goodPosition, ":", " : "), strings.Replace(goodPosition, "2,", `"2e0",`, 1)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := decodePosition(text)
		if err != nil {
			if _, err := readPosition("k", Account{123, "kraken"}, "A/B", text); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if err := s.Validate(); err != nil {
			t.Fatalf("%q: %+v: %v", text, s, err)
		}
		again, err := decodePosition(withRevision(s.Rev, s.encode()))
		if err != nil || !again.Equal(s.Position) || again.Rev != s.Rev {
			t.Fatalf("%q: %+v became %+v, %v", text, s, again, err)
		}
	})
}

func FuzzReadPositionMessage(f *testing.F) {
	for _, message := range []string{"P " + goodPosition, "S " + goodTold, "D 9 123 6\nkrakenA/B", "R 1", "", "D 9 123 99\nx"} {
		f.Add(message)
	}
	f.Fuzz(func(t *testing.T, message string) {
		m, err := readPositionMessage("c", message)
		switch {
		case err != nil:
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%q: %v", message, err)
			}
		case m.kind != messageReset:
			if err := m.position.Account.Validate(); err != nil {
				t.Fatalf("%q: %+v: %v", message, m, err)
			}
		}
	})
}

func FuzzDecodeBalance(f *testing.F) {
	for _, text := range []string{`{"free":1,"used":0.5}`, `{"used":"1e-3","free":2}`, "{}", "", `{"free":-1,"used":0}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		b, err := decodeBalance("USD", text, time.Unix(1, 0))
		if err != nil {
			return
		}
		again, err := decodeBalance("USD", b.encode(), time.Unix(1, 0))
		if err != nil || !again.Equal(b) {
			t.Fatalf("%q: %+v became %+v, %v", text, b, again, err)
		}
	})
}
