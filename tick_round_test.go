package fulloncache_test

import (
	"context"
	"errors"
	"io"
	"math/big"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// precisions is a program's own PrecisionSource.
type precisions map[fulloncache.Market]fulloncache.Precision

func (p precisions) Precision(_ context.Context, m fulloncache.Market) (fulloncache.Precision, error) {
	if got, ok := p[m]; ok {
		return got, nil
	}
	return fulloncache.Precision{}, io.ErrUnexpectedEOF
}

// rounding returns a client of a prefix of its own.
func rounding(t testing.TB, cfg fulloncache.Config) *fulloncache.Client {
	t.Helper()
	cfg.URL, cfg.KeyPrefix = testenv.Redis(t).URL(), testenv.Prefix(t)
	return open(t, cfg)
}

func TestRoundPriceAndSize(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	c := rounding(t, fulloncache.Config{Precision: precisions{btc: {Decimals: 1, LotDecimals: 3}, eth: {Decimals: -1, LotDecimals: 20}}})
	for number, want := range map[string][2]string{
		"67123.45":  {"67123.4", "67123.45"}, // a tie goes to the even digit
		"67123.35":  {"67123.4", "67123.35"},
		"67123.351": {"67123.4", "67123.351"},
		"0.0019999": {"0", "0.001"},
		"-0.0019":   {"0", "-0.001"}, // nearer to zero: never more than was meant
		"5":         {"5", "5"},
	} {
		if got, err := c.Ticks.RoundPrice(ctx, btc, dec(number)); err != nil || got.String() != want[0] {
			t.Errorf("price %s: %s, %v; want %s", number, got, err, want[0])
		}
		if got, err := c.Ticks.RoundSize(ctx, btc, dec(number)); err != nil || got.String() != want[1] {
			t.Errorf("size %s: %s, %v; want %s", number, got, err, want[1])
		}
	}
	for name, round := range map[string]func(context.Context, fulloncache.Market, fulloncache.Decimal) (fulloncache.Decimal, error){
		"price": c.Ticks.RoundPrice, "size": c.Ticks.RoundSize,
	} {
		if got, err := round(ctx, eth, dec("1.5")); !errors.Is(err, fulloncache.ErrInvalid) || !got.IsZero() {
			t.Errorf("%s to impossible places: %s, %v", name, got, err)
		}
		unknown := fulloncache.Market{Exchange: "kraken", Symbol: "X/Y"}
		if got, err := round(ctx, unknown, dec("1.5")); !errors.Is(err, io.ErrUnexpectedEOF) || !got.IsZero() {
			t.Errorf("%s of an unknown symbol: %s, %v", name, got, err)
		}
	}
}

func TestRoundWithoutPrecision(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	c := rounding(t, fulloncache.Config{})
	_, err := c.Ticks.RoundPrice(ctx, btc, dec("1"))
	wantErr(t, err, fulloncache.ErrUnsupported, "kraken BTC/USD", "Config.SymbolStore")
	_, err = c.Ticks.RoundSize(ctx, btc, dec("1"))
	wantErr(t, err, fulloncache.ErrUnsupported, "kraken BTC/USD", "Config.SymbolStore")
}

func TestRoundQuote(t *testing.T) {
	t.Parallel()
	c := rounding(t, fulloncache.Config{QuoteDecimals: map[string]int{"usdt": 4, "DOGE": 0, "BAD": 20}})
	const amount = "1234.99999999999"
	for currency, want := range map[string]string{
		"BTC": "1234.99999999", "eth": "1234.99999999", "XYZ": "1234.99999999",
		"USD": "1234.99", "eur": "1234.99", "USDC": "1234.99", "Dai": "1234.99",
		"JPY": "1234", "krw": "1234",
		"USDT": "1234.9999", "usdt": "1234.9999", "doge": "1234", // overridden
	} {
		if got, err := c.Ticks.RoundQuote(currency, dec(amount)); err != nil || got.String() != want {
			t.Errorf("%s: %s, %v; want %s", currency, got, err, want)
		}
		if got, err := c.Ticks.RoundQuote(currency, dec("-"+amount)); err != nil || got.String() != "-"+want {
			t.Errorf("%s: %s, %v; want -%s", currency, got, err, want)
		}
	}
	_, err := c.Ticks.RoundQuote("", dec("1"))
	wantErr(t, err, fulloncache.ErrInvalid, "currency is empty")
	_, err = c.Ticks.RoundQuote(strings.Repeat("x", 300), dec("1"))
	wantErr(t, err, fulloncache.ErrInvalid, "currency", "300 bytes")
	_, err = c.Ticks.RoundQuote("bad", dec("1"))
	wantErr(t, err, fulloncache.ErrInvalid, "20 places")
}

// An order or an amount is never for more than was meant, and never off by a unit.
func TestRoundNeverUp(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	precision := precisions{}
	c := rounding(t, fulloncache.Config{Precision: precision})
	rapid.Check(t, func(t *rapid.T) {
		n := draw(t, "number")
		places := rapid.IntRange(0, fulloncache.MaxDecimalPlaces).Draw(t, "places")
		precision[btc] = fulloncache.Precision{LotDecimals: places}
		check := func(got fulloncache.Decimal, err error, places int) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			unit := new(big.Rat).SetFrac(big.NewInt(1), new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(places)), nil))
			r := ratOf(t, got.String())
			off := new(big.Rat).Sub(new(big.Rat).Abs(n.rat), new(big.Rat).Abs(r))
			if off.Sign() < 0 || off.Cmp(unit) >= 0 || r.Sign()*n.rat.Sign() < 0 {
				t.Fatalf("%s became %s with %d places", n.text, got, places)
			}
		}
		size, err := c.Ticks.RoundSize(ctx, btc, n.dec)
		check(size, err, places)
		amount, err := c.Ticks.RoundQuote("BTC", n.dec)
		check(amount, err, 8)
		amount, err = c.Ticks.RoundQuote("JPY", n.dec)
		check(amount, err, 0)
	})
}

func TestDropDust(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		at := func(exchange, symbol string) fulloncache.Market {
			return fulloncache.Market{Exchange: exchange, Symbol: symbol}
		}
		for _, tick := range []fulloncache.Tick{
			tickOf(at("kraken", "ETH/USDT"), "2000", 0),
			tickOf(at("kraken", "ETH/USD"), "1", 0), // not asked: there is a price in the stablecoin
			tickOf(at("bitso", "ADA/USD"), "0.5", 0),
			tickOf(at("kraken", "XMR/BTC"), "0.002", 0),
			tickOf(at("kraken", "BTC/USDT"), "50000", 0),
			tickOf(at("kraken", "SHIB/USDT"), "0.0000000000000000003", 0),
			tickOf(at("kraken", "LONE/EUR"), "5", 0),
		} {
			must(s, c.Ticks.Set(s.ctx, tick))
		}
		for _, t := range []struct{ currency, balance, want string }{
			{"USDT", "2", "2"}, // the limit itself is no dust
			{"USDT", "1.9999999999999999999", "0"},
			{"usdt", "2.0000000000000000001", "2.0000000000000000001"},
			{"USD", "1.99", "0"},
			{"USD", "2", "2"},
			{"USDT", "-1.99", "0"}, // a debt has a size, too
			{"USDT", "-2", "-2"},
			{"ETH", "0.001", "0.001"},
			{"eth", "0.0009999999999999999", "0"},
			{"ETH", "-0.001", "-0.001"},
			{"ADA", "4", "4"},
			{"ADA", "3.9999", "0"},
			{"XMR", "0.02", "0.02"}, // 0.02 × 0.002 × 50000
			{"XMR", "0.0199999999", "0"},
			{"SHIB", "6666666666666666666.6666666666666666667", "6666666666666666666.6666666666666666667"}, // more digits than a Decimal has
			{"SHIB", "6666666666666666666.6666666666666666666", "0"},
			{"BTC", "0.00004", "0.00004"},
			{"UNKNOWN", "0", "0"}, // nothing is nothing, whatever it is worth
		} {
			got, err := c.Ticks.DropDust(s.ctx, t.currency, dec(t.balance))
			if err != nil || got.String() != t.want {
				s.Errorf("%s %s: %s, %v; want %s", t.balance, t.currency, got, err, t.want)
			}
		}

		// What it is worth is unknown: that is not zero.
		for _, currency := range []string{"UNKNOWN", "LONE"} {
			_, err := c.Ticks.DropDust(s.ctx, currency, dec("1000"))
			wantErr(s, err, fulloncache.ErrNotFound, "worth of "+currency, currency+"/USDT", currency+"/USD", currency+"/BTC")
		}
		_, err := c.Ticks.DropDust(s.ctx, "", dec("1"))
		wantErr(s, err, fulloncache.ErrInvalid, "currency is empty")
		// A stale price is not taken, nor another way in its place.
		_, err = c.Ticks.DropDust(s.ctx, "ETH", dec("1"), fulloncache.MaxAge(time.Second))
		wantErr(s, err, fulloncache.ErrStale, "worth of ETH", "kraken ETH/USDT")
		_, err = c.Ticks.DropDust(s.ctx, "ADA", dec("1"), fulloncache.Prefer("kraken"))
		wantErr(s, err, fulloncache.ErrNotFound, "ADA/USD")

		// By way of BTC in dollars, where there is no other.
		must(s, c.Ticks.Delete(s.ctx, at("kraken", "BTC/USDT")))
		must(s, c.Ticks.Set(s.ctx, tickOf(at("bitso", "BTC/USD"), "100000", 0)))
		if got, err := c.Ticks.DropDust(s.ctx, "XMR", dec("0.01")); err != nil || got.String() != "0.01" {
			s.Errorf("%s, %v", got, err)
		}
		if got, err := c.Ticks.DropDust(s.ctx, "XMR", dec("0.0099")); err != nil || !got.IsZero() {
			s.Errorf("%s, %v", got, err)
		}

		// Limit and stablecoin are settings.
		cfg := s.cfg
		cfg.DustLimit, cfg.Stablecoin = 10, "eur"
		other := open(s.T, cfg)
		for balance, want := range map[string]string{"2": "2", "1.99": "0"} { // at 5 EUR
			if got, err := other.Ticks.DropDust(s.ctx, "LONE", dec(balance)); err != nil || got.String() != want {
				s.Errorf("%s LONE: %s, %v", balance, got, err)
			}
		}

		ctx, cancel := context.WithCancel(s.ctx)
		cancel()
		_, err = c.Ticks.DropDust(ctx, "ETH", dec("1"))
		wantErr(s, err, context.Canceled, "worth of ETH")
	})
}
