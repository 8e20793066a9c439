package fulloncache

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// Precision is how exactly an exchange trades a symbol.
type Precision struct {
	Decimals    int // Decimals is how many places a price has.
	LotDecimals int // LotDecimals is how many places a size has.
}

// PrecisionSource knows the precision of symbols: a program's own table, or the
// cache of symbols.
type PrecisionSource interface {
	Precision(ctx context.Context, m Market) (Precision, error)
}

// RoundPrice rounds a price to the decimals of the market's symbol, to the
// nearest, a tie to the even digit. The symbol's decimals come from
// [Config].Precision, or else from the [SymbolCache], whose errors it returns.
func (c *TickCache) RoundPrice(ctx context.Context, market Market, price Decimal) (_ Decimal, err error) {
	call := c.begin(ctx, "tick.round_price", market)
	defer func() { call.end(ctx, err) }()
	p, err := c.precision.Precision(ctx, market)
	if err != nil {
		return Decimal{}, err
	}
	return price.Round(p.Decimals, HalfEven)
}

// RoundSize rounds a size to the lot decimals of the market's symbol, never up:
// an order for it never asks for more than was meant. See [TickCache.RoundPrice].
func (c *TickCache) RoundSize(ctx context.Context, market Market, size Decimal) (_ Decimal, err error) {
	call := c.begin(ctx, "tick.round_size", market)
	defer func() { call.end(ctx, err) }()
	p, err := c.precision.Precision(ctx, market)
	if err != nil {
		return Decimal{}, err
	}
	return size.Round(p.LotDecimals, Down)
}

// quoteDecimals are the places of amounts in currencies that are not crypto.
var quoteDecimals = map[string]int{
	"USD": 2, "EUR": 2, "GBP": 2, "CHF": 2, "CAD": 2, "AUD": 2,
	"USDT": 2, "USDC": 2, "DAI": 2, "TUSD": 2, "BUSD": 2, "USDP": 2, "GUSD": 2, "FDUSD": 2, "PYUSD": 2, "EURT": 2, "EURC": 2,
	"JPY": 0, "KRW": 0,
}

// cryptoDecimals are the places of amounts in all other currencies.
const cryptoDecimals = 8

// RoundQuote rounds an amount of a quote currency, never up: 8 places for
// crypto, 2 for dollars, euros and stablecoins, 0 for yen, or what
// [Config].QuoteDecimals says. The currency's case does not matter.
func (c *TickCache) RoundQuote(currency string, amount Decimal) (Decimal, error) {
	if err := validName("currency", currency); err != nil {
		return Decimal{}, err
	}
	currency = strings.ToUpper(currency)
	places, ok := c.quotes[currency]
	if !ok {
		places, ok = quoteDecimals[currency]
	}
	if !ok {
		places = cryptoDecimals
	}
	return amount.Round(places, Down)
}

// DropDust returns the balance of a currency, or 0 if it is worth less than
// [Config].DustLimit units of the stablecoin. What it is worth is the price of
// currency/stablecoin, else of currency/USD, else by way of BTC, at any exchange,
// under the same options as [TickCache.Any]. A balance whose worth is unknown
// is not zero: the error of the prices is returned.
func (c *TickCache) DropDust(ctx context.Context, currency string, balance Decimal, opts ...ReadOption) (_ Decimal, err error) {
	call := c.begin(ctx, "tick.drop_dust", Market{Symbol: currency})
	defer func() { call.end(ctx, err) }()
	if err := validName("currency", currency); err != nil {
		return Decimal{}, err
	}
	if balance.IsZero() {
		return Decimal{}, nil
	}
	price, err := c.worth(ctx, strings.ToUpper(currency), reading(opts))
	if err != nil {
		return Decimal{}, fmt.Errorf("worth of %s: %w", printable(currency), err)
	}
	worth := new(big.Rat).Mul(balance.rat(), price)
	if worth.Abs(worth).Cmp(new(big.Rat).SetInt64(int64(c.dustLimit))) < 0 {
		return Decimal{}, nil
	}
	return balance, nil
}

// worth is the price of one unit of a currency in the stablecoin, as a fraction
// since a product of prices can exceed a Decimal.
func (c *TickCache) worth(ctx context.Context, currency string, want ReadOption) (*big.Rat, error) {
	if currency == c.stablecoin || currency == "USD" {
		return big.NewRat(1, 1), nil
	}
	var errs []error
	for _, way := range [][]string{
		{currency + "/" + c.stablecoin},
		{currency + "/USD"},
		{currency + "/BTC", "BTC/" + c.stablecoin},
		{currency + "/BTC", "BTC/USD"},
	} {
		product := big.NewRat(1, 1)
		var err error
		for _, symbol := range way {
			var tick Tick
			if tick, err = c.any(ctx, symbol, want); err != nil {
				errs = append(errs, err)
				break
			}
			product.Mul(product, tick.Price.rat())
		}
		if err == nil {
			return product, nil
		}
		if !errors.Is(err, ErrNotFound) {
			// Stale or unknown is not absent: another way must not hide it.
			return nil, err
		}
	}
	return nil, errors.Join(errs...)
}
