// Package sim makes up markets that look real: several exchanges that quote the
// same symbols around a common price, each with its spread, its pace and its
// noise. The same seed makes the same ticks.
package sim

import (
	"math/rand/v2"
	"time"

	"github.com/fullon/fulloncache"
)

// instrument is a symbol and where its price begins.
type instrument struct {
	symbol string
	start  int64 // price × 10^places
	places int
}

var instruments = [...]instrument{
	{"BTC/USD", 67_123_45, 2}, {"ETH/USD", 3_512_80, 2}, {"SOL/USD", 171_230, 3}, {"XRP/USD", 52_341, 5},
	{"ADA/USD", 46_120, 5}, {"DOGE/USD", 15_872, 5}, {"DOT/USD", 7_2150, 4}, {"LTC/USD", 84_13, 2},
	{"LINK/USD", 17_884, 3}, {"ETH/BTC", 5_2340, 6}, {"BTC/EUR", 61_980_10, 2}, {"AVAX/USD", 36_410, 3},
}

// Exchanges are the names of the simulated exchanges.
var Exchanges = [...]string{"kraken", "coinbase", "binance", "bitfinex"}

// Market is the simulation. It is not safe for concurrent use.
type Market struct {
	rand *rand.Rand
	mid  [len(instruments)]int64
	vol  [len(Exchanges)][len(instruments)]int64
}

// New returns a simulation that a seed determines.
func New(seed uint64) *Market {
	m := &Market{rand: rand.New(rand.NewPCG(seed, 0x66756c6c6f6e))}
	for i, in := range instruments {
		m.mid[i] = in.start
	}
	for e := range m.vol {
		for i := range m.vol[e] {
			m.vol[e][i] = m.rand.Int64N(5_000_000_00)
		}
	}
	return m
}

// Symbols are the symbols that every exchange quotes.
func Symbols() []string {
	list := make([]string, len(instruments))
	for i, in := range instruments {
		list[i] = in.symbol
	}
	return list
}

// Next returns the next tick, at the time given.
func (m *Market) Next(now time.Time) fulloncache.Tick {
	// Exchanges and symbols take turns by chance, the first ones more often.
	e := min(m.rand.IntN(len(Exchanges)), m.rand.IntN(len(Exchanges)))
	i := min(m.rand.IntN(len(instruments)), m.rand.IntN(len(instruments)))
	in := instruments[i]

	// The price walks by some hundred-thousandths, and is pulled back to where it
	// began, so that a demo that runs for days still looks like a market.
	step := float64(m.mid[i]) * 8e-5 * m.rand.NormFloat64()
	pull := float64(in.start-m.mid[i]) * 1e-4
	m.mid[i] = max(m.mid[i]+int64(step+pull), in.start/10, 10)

	half := max(m.mid[i]/20_000, 1) * int64(e+1)
	off := m.rand.Int64N(2*half+1) - half
	bid, ask := m.mid[i]+off/2-half, m.mid[i]+off/2+half
	last := bid
	if m.rand.IntN(2) == 0 {
		last = ask
	}
	m.vol[e][i] += m.rand.Int64N(1_000_000)
	tick := fulloncache.Tick{
		Market: fulloncache.Market{Exchange: Exchanges[e], Symbol: in.symbol},
		Price:  decimal(last, in.places),
		Bid:    fulloncache.Some(decimal(max(bid, 1), in.places)),
		Ask:    fulloncache.Some(decimal(ask, in.places)),
		Time:   now,
	}
	// As at real exchanges, one sends neither last nor volume.
	if Exchanges[e] != "binance" {
		tick.Last = fulloncache.Some(tick.Price)
		tick.Volume = fulloncache.Some(decimal(m.vol[e][i], 8))
	}
	return tick
}

// decimal is a positive number with the places of an instrument, which fit.
func decimal(coef int64, places int) fulloncache.Decimal {
	d, _ := fulloncache.NewDecimal(max(coef, 1), places)
	return d
}
