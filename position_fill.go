package fulloncache

import (
	"fmt"
	"math/big"
)

// What a fill does to a position is computed with whole numbers: units of the
// last of the MaxDecimalPlaces that a Decimal can have. Products and quotients of
// Decimals would be cut off beyond them.

// costPlaces is how many places a cost or a price has that had to be rounded.
const costPlaces = 18

var (
	unit   = power(MaxDecimalPlaces)              // 1
	coarse = power(MaxDecimalPlaces - costPlaces) // the last place of what was rounded
	// limit is beyond what a Decimal holds of digits.
	limit = power(MaxDecimalDigits)
	ten   = power(1)
)

func power(n int64) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(n), nil) }

// units returns d in units of the last place.
func (d Decimal) units() *big.Int {
	neg, hi, lo, places, ok := d.d.ToHiLo()
	if !ok { // a sum that is beyond 128 bits: no Decimal that was read is
		r := d.rat()
		return new(big.Int).Div(new(big.Int).Mul(r.Num(), unit), r.Denom())
	}
	n := new(big.Int).SetUint64(hi)
	n.Or(n.Lsh(n, 64), new(big.Int).SetUint64(lo))
	if neg {
		n.Neg(n)
	}
	return n.Mul(n, power(int64(MaxDecimalPlaces-places)))
}

// ofUnits is the inverse of units. It returns ErrInvalid for what a Decimal cannot
// hold.
func ofUnits(n *big.Int) (Decimal, error) {
	places := MaxDecimalPlaces
	a, rest := new(big.Int).Abs(n), new(big.Int)
	for q := new(big.Int); places > 0; places-- {
		if q.QuoRem(a, ten, rest); rest.Sign() != 0 {
			break
		}
		a.Set(q)
	}
	if a.Cmp(limit) >= 0 {
		return Decimal{}, fmt.Errorf("%w: %d digits: want at most %d", ErrInvalid, len(a.String()), MaxDecimalDigits)
	}
	return fromBig(n.Sign() < 0, a, places)
}

// quotient returns a / b, which are not negative, rounded half-even.
func quotient(a, b *big.Int) *big.Int {
	q, rest := new(big.Int).QuoRem(a, b, new(big.Int))
	switch rest.Lsh(rest, 1).Cmp(b) {
	case 1:
		q.Add(q, big.NewInt(1))
	case 0:
		q.Add(q, big.NewInt(int64(q.Bit(0))))
	}
	return q
}

// product returns a × b, which are not negative: exactly where a Decimal has room
// for its places, else rounded half-even to 18.
func product(a, b Decimal) (Decimal, error) {
	n := new(big.Int).Mul(a.units(), b.units())
	if q, rest := new(big.Int).QuoRem(n, unit, new(big.Int)); rest.Sign() == 0 {
		return ofUnits(q)
	}
	return ofUnits(new(big.Int).Mul(quotient(n, new(big.Int).Mul(unit, coarse)), coarse))
}

// share returns that part of total that part is of whole, rounded half-even to 18
// places, and never more than total.
func share(total, part, whole *big.Int) *big.Int {
	n := quotient(new(big.Int).Mul(total, part), new(big.Int).Mul(whole, coarse))
	if n.Mul(n, coarse).Cmp(total) > 0 { // its last place is finer
		n.Set(total)
	}
	return n
}

// price derives the average price.
func (p *Position) price() (err error) {
	p.AvgPrice = Decimal{}
	if p.Flat() {
		return nil
	}
	n := quotient(new(big.Int).Mul(p.Cost.units(), unit), new(big.Int).Mul(p.Volume.units(), coarse))
	if p.AvgPrice, err = ofUnits(n.Mul(n, coarse)); err != nil {
		return fmt.Errorf("avg_price: %w", err)
	}
	return nil
}

// apply returns what a fill makes of the position, at average cost:
//
//   - It opens or adds: what it costs is added to the cost.
//   - It reduces: of the cost, the part that the closed volume is of the open one is
//     released, rounded half-even to 18 places; the rest remains, so that both
//     together are what was paid. The profit is what the fill brought less what was
//     released.
//   - It closes: all of the cost is released.
//   - It flips: of what it costs, the part of the closed volume closes, the rest
//     opens the other side.
//
// Fees add up, and no price is rounded and used again.
func (p Position) apply(t *Trade) (Position, error) {
	side, other := Long, Short
	if t.Side == Sell {
		side, other = Short, Long
	}
	paid := t.Cost
	if paid.IsZero() {
		var err error
		if paid, err = product(t.Volume, t.Price); err != nil {
			return p, fmt.Errorf("%s: cost: %w", namedTrade{t}, err)
		}
	}
	volume, cost, profit := p.Volume.units(), p.Cost.units(), p.RealisedProfit.units()
	filled, brought := t.Volume.units(), paid.units()
	if p.Side != other {
		p.Side = side
		volume.Add(volume, filled)
		cost.Add(cost, brought)
	} else {
		released := cost
		switch volume.Cmp(filled) {
		case 1: // reduced
			released = share(cost, filled, volume)
			cost = new(big.Int).Sub(cost, released)
			volume.Sub(volume, filled)
		case 0: // closed
			p.Side, cost, volume = Flat, new(big.Int), new(big.Int)
		case -1: // flipped
			closing := share(brought, volume, filled)
			p.Side, cost, volume = side, brought.Sub(brought, closing), filled.Sub(filled, volume)
			brought = closing
		}
		gain := new(big.Int).Sub(brought, released)
		if other == Short { // what was received is the cost
			gain.Neg(gain)
		}
		profit.Add(profit, gain)
	}
	for _, n := range [...]struct {
		name  string
		value *big.Int
		to    *Decimal
	}{
		{"volume", volume, &p.Volume}, {"cost", cost, &p.Cost}, {"realised_profit", profit, &p.RealisedProfit},
		{"fees", new(big.Int).Add(p.Fees.units(), t.Fee.units()), &p.Fees},
	} {
		var err error
		if *n.to, err = ofUnits(n.value); err != nil {
			return p, fmt.Errorf("%s: the position's %s: %w", namedTrade{t}, n.name, err)
		}
	}
	if t.Time.After(p.Time) {
		p.Time = t.Time.UTC()
	}
	if err := p.price(); err != nil {
		return p, fmt.Errorf("%s: the position's %w", namedTrade{t}, err)
	}
	return p, nil
}
