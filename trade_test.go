package fulloncache_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
)

func fullTrade() fulloncache.Trade {
	return fulloncache.Trade{
		Market: btc, ID: 12, ExTradeID: "TX-1", ExOrderID: "OX-1", UserID: 2, ExchangeID: 5, Type: "limit", Side: fulloncache.Sell,
		Volume: dec("0.25"), Price: dec("67000.5"), Cost: dec("16750.125"), Fee: dec("-0.1"),
		CurVolume: some("-0.25"), CurAvgPrice: some("67000"), CurAvgCost: some("16750"), CurFee: some("-0.1"), ROI: some("-3.5"), ROIPct: some("-0.02"),
		TotalFee: some("0.3"), Leverage: some("2"), Time: t0,
	}
}

func TestTradeValidate(t *testing.T) {
	t.Parallel()
	type trade = fulloncache.Trade
	const most = math.MaxInt64
	wantValid(t, fullTrade,
		func(u *trade) {
			*u = trade{Market: btc, ExTradeID: "t", Side: fulloncache.Buy, Volume: dec("1e-19"), Price: dec("1e-19"), Time: time.Unix(0, 0)}
		},
		func(u *trade) { u.ExTradeID, u.ExOrderID = strings.Repeat("x", mostRef), strings.Repeat("x", mostRef) },
		func(u *trade) { u.Exchange, u.Symbol, u.ExTradeID, u.ExOrderID, u.Type = odd, odd, odd, odd, odd },
		func(u *trade) { u.ID, u.UserID, u.ExchangeID = most, most, most },
		func(u *trade) { u.Cost, u.Fee = dec("0"), dec("5") },
		func(u *trade) { u.Time = time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC) },
	)
	const who = "trade kraken BTC/USD TX-1: "
	wantInvalid(t, fullTrade, slices.Concat(
		[]spoiled[trade]{
			{func(u *trade) { u.ExTradeID = "" }, []string{"trade kraken BTC/USD: ex_trade_id is empty"}},
			{func(u *trade) { u.Side = "" }, []string{"trade kraken BTC/USD TX-1", `side ""`, "buy or sell"}},
			{func(u *trade) { u.Volume = dec("0") }, []string{who + "volume 0", "more than 0"}},
			{func(u *trade) { u.Volume = dec("-1") }, []string{who + "volume -1", "more than 0"}},
			{func(u *trade) { u.Price = dec("0") }, []string{who + "price 0", "more than 0"}},
			{func(u *trade) { u.Price = dec("-0.5") }, []string{who + "price -0.5", "more than 0"}},
			{func(u *trade) { u.Cost = dec("-0.5") }, []string{who + "cost -0.5", "at least 0"}},
			{func(u *trade) { u.ExTradeID, u.Cost = "a\nb", dec("-1") }, []string{`trade kraken BTC/USD "a\nb": cost -1`}},
		},
		wrongMarket(func(u *trade) *fulloncache.Market { return &u.Market }),
		wrongRef("ex_trade_id", func(u *trade) *string { return &u.ExTradeID }),
		wrongRef(who+"ex_order_id", func(u *trade) *string { return &u.ExOrderID }),
		wrongID("trade_id", 0, func(u *trade) *int64 { return &u.ID }),
		wrongID("uid", 0, func(u *trade) *int64 { return &u.UserID }),
		wrongID("ex_id", 0, func(u *trade) *int64 { return &u.ExchangeID }),
		wrongText(who+"order_type", func(u *trade) *string { return &u.Type }),
		wrongTime(func(u *trade) *time.Time { return &u.Time }),
	))
}

func TestTradeEqual(t *testing.T) {
	t.Parallel()
	wantEqual(t, fullTrade())
	// Comparing spoils neither.
	a, b := fullTrade(), fullTrade()
	if !a.Equal(b) || a != fullTrade() || b != fullTrade() {
		t.Errorf("compared, they are %+v and %+v", a, b)
	}
}

func TestTradeJSON(t *testing.T) {
	t.Parallel()
	wantRoundTrip(t, fulloncache.Trade.Equal)
	u := fullTrade()
	u.Time = time.Date(2024, 2, 29, 23, 59, 59, 1, time.UTC)
	wantJSON(t, u, `{"exchange":"kraken","symbol":"BTC/USD","trade_id":12,"ex_trade_id":"TX-1","ex_order_id":"OX-1","uid":2,"ex_id":5,"order_type":"limit",`+
		`"side":"sell","volume":"0.25","price":"67000.5","cost":"16750.125","fee":"-0.1","cur_volume":"-0.25","cur_avg_price":"67000","cur_avg_cost":"16750",`+
		`"cur_fee":"-0.1","roi":"-3.5","roi_pct":"-0.02","total_fee":"0.3","leverage":"2","time":"2024-02-29T23:59:59.000000001Z"}`)
	wantJSON(t, fulloncache.Trade{Market: btc}, `{"exchange":"kraken","symbol":"BTC/USD","ex_trade_id":"","side":"","volume":"0","price":"0","cost":"0","fee":"0",`+
		`"time":"0001-01-01T00:00:00Z"}`)
}
