package orm_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
	"github.com/fullon/fulloncache/orm"
)

// order is a new one of the book's bot at kraken.
func (b *book) order(id string) fulloncache.Order {
	return fulloncache.Order{
		Market: fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}, ID: id,
		BotID: b.bot, UserID: b.user, ExchangeID: b.kraken, CatExchangeID: b.catalogue["kraken"],
		Type: "limit", Side: fulloncache.Buy, Volume: dec("2"), Price: some("67000.5"), Tick: some("67001"),
		Status: fulloncache.OrderNew, Reason: "signal", Time: noon,
	}
}

// wantOrder wants the order to be stored as it is given.
func (b *book) wantOrder(want fulloncache.Order) {
	b.Helper()
	got := get(b.db.Orders.ByRecord(b.ctx, want.RecordID))(b)
	if !got.Equal(want) {
		b.Fatalf("stored is %+v,\nwant %+v", got, want)
	}
}

func TestOrders(t *testing.T) {
	books(t, func(b *book) {
		orders := b.db.Orders
		given := b.order("it's")
		given.RecordID, given.ExOrderID = 99, "O-1"
		want := get(orders.Add(b.ctx, given))(b)
		if want.RecordID == 99 || want.RecordID == 0 {
			b.Fatalf("added %+v", want)
		}
		given.RecordID = want.RecordID
		if !want.Equal(given) {
			b.Errorf("added %+v, want %+v", want, given)
		}
		for name, got := range map[string]fulloncache.Order{
			"id":      get(orders.ByID(b.ctx, "kraken", "it's"))(b),
			"record":  get(orders.ByRecord(b.ctx, want.RecordID))(b),
			"ex":      get(orders.ByExOrderID(b.ctx, "kraken", "O-1"))(b),
			"the bot": get(orders.Last(b.ctx, b.bot))(b),
		} {
			if !got.Equal(want) {
				b.Errorf("by %s: %+v, want %+v", name, got, want)
			}
		}
		_, err := orders.Add(b.ctx, given)
		b.fails(err, fulloncache.ErrDuplicate, "it's")

		// The same id at another exchange is another order.
		other := given
		other.Exchange, other.ExchangeID, other.CatExchangeID = "binance", b.binance, b.catalogue["binance"]
		other = get(orders.Add(b.ctx, other))(b)
		if last := get(orders.Last(b.ctx, b.bot))(b); !last.Equal(other) {
			b.Errorf("last is %+v", last)
		}
		b.wantOrder(want)

		b.must(orders.Delete(b.ctx, want.RecordID))
		b.fails(orders.Delete(b.ctx, want.RecordID), fulloncache.ErrNotFound)
		_, err = orders.ByID(b.ctx, "kraken", "it's")
		b.fails(err, fulloncache.ErrNotFound, "it's")
		_, err = orders.ByExOrderID(b.ctx, "kraken", "O-1")
		b.fails(err, fulloncache.ErrNotFound)
		_, err = orders.Last(b.ctx, b.botOfOther)
		b.fails(err, fulloncache.ErrNotFound)
		b.wantOrder(other)
	})
}

// An exchange that counts anew gives an id twice: the later order counts.
func TestOrderOfAnIDUsedAgain(t *testing.T) {
	books(t, func(b *book) {
		for _, id := range []string{"a", "b"} {
			o := b.order(id)
			o.ExOrderID = "1"
			get(b.db.Orders.Add(b.ctx, o))(b)
		}
		if got := get(b.db.Orders.ByExOrderID(b.ctx, "kraken", "1"))(b); got.ID != "b" {
			b.Errorf("got %+v", got)
		}
	})
}

func TestSaveOrder(t *testing.T) {
	books(t, func(b *book) {
		save := func(change func(*fulloncache.Order)) fulloncache.Order {
			b.Helper()
			o := b.order("1-a")
			change(&o)
			return get(b.db.Orders.Save(b.ctx, o))(b)
		}
		want := save(func(*fulloncache.Order) {})
		id := want.RecordID
		check := func(what string, got fulloncache.Order) {
			b.Helper()
			if !got.Equal(want) {
				b.Errorf("%s: returned %+v,\nwant %+v", what, got, want)
			}
			b.wantOrder(want)
		}
		check("added", want)
		check("again", save(func(*fulloncache.Order) {}))

		want.Status, want.ExOrderID, want.Command, want.Reason = fulloncache.OrderOpen, "O-1", "spread", "other"
		want.PLimit, want.Leverage, want.Price, want.Volume = some("1"), some("3"), some("66000"), dec("1.5")
		check("sent", save(func(o *fulloncache.Order) {
			*o = want
			o.RecordID, o.Type, o.Futures, o.Time = 0, "market", true, noon.Add(time.Hour)
		}))
		// What a message does not say stays, and ids that are 0 say nothing.
		want.FinalVolume = some("0.5")
		check("filled", save(func(o *fulloncache.Order) {
			*o = want
			o.RecordID, o.BotID, o.UserID, o.ExchangeID, o.CatExchangeID = 0, 0, 0, 0, 0
			o.Price, o.PLimit, o.Tick, o.Leverage = fulloncache.NullDecimal{}, fulloncache.NullDecimal{}, fulloncache.NullDecimal{}, fulloncache.NullDecimal{}
			o.ExOrderID, o.Command, o.Reason = "", "", ""
		}))
		// Of an earlier step, or less filled: late.
		check("late", save(func(o *fulloncache.Order) { o.Price, o.FinalVolume = some("1"), some("0.4") }))
		check("pending late", save(func(o *fulloncache.Order) { o.Status = fulloncache.OrderPending }))
		want.FinalVolume = some("0.75")
		check("late, but filled more", save(func(o *fulloncache.Order) { o.FinalVolume = some("0.75") }))

		want.Status, want.ExOrderID = "Partially_Filled", "O-2"
		check("in part", save(func(o *fulloncache.Order) {
			*o = want
			o.FinalVolume = some("0.6")
		}))
		// To some exchanges, what is filled in part is open.
		want.Price = some("65000")
		check("open", save(func(o *fulloncache.Order) {
			*o = want
			o.Status = fulloncache.OrderOpen
		}))

		want.Status = "Cancel"
		check("final", save(func(o *fulloncache.Order) { *o = want }))
		check("reopened", save(func(o *fulloncache.Order) { o.Status, o.ExOrderID = fulloncache.OrderOpen, "O-3" }))
		want.FinalVolume = some("1")
		check("another end", save(func(o *fulloncache.Order) { o.Status, o.FinalVolume = fulloncache.OrderFilled, some("1.0") }))
		if want.RecordID != id {
			b.Errorf("the record moved to %d", want.RecordID)
		}
		if n := b.insert("SELECT count(*) FROM orders"); n != 1 {
			b.Errorf("%d rows", n)
		}
	})
}

// A final order takes the ids that it lacked.
func TestSaveFinalOrderWithoutIDs(t *testing.T) {
	books(t, func(b *book) {
		want := b.order("a")
		want.Status, want.BotID, want.UserID, want.ExchangeID, want.CatExchangeID = fulloncache.OrderFilled, 0, 0, 0, 0
		want = get(b.db.Orders.Save(b.ctx, want))(b)
		o := b.order("a")
		want.BotID, want.UserID, want.ExchangeID, want.CatExchangeID = o.BotID, o.UserID, o.ExchangeID, o.CatExchangeID
		o.ExOrderID, o.Price, o.Status = "O-1", some("1"), fulloncache.OrderFilled
		want.ExOrderID = "O-1"
		if got := get(b.db.Orders.Save(b.ctx, o))(b); !got.Equal(want) {
			b.Errorf("got %+v", got)
		}
		b.wantOrder(want)
	})
}

// What comes in one batch has the effect of one message after the other.
func TestSaveMessagesOfOneBatch(t *testing.T) {
	books(t, func(b *book) {
		want := b.order("a")
		want.Status = fulloncache.OrderPending
		want = get(b.db.Orders.Save(b.ctx, want))(b)
		late, open := b.order("a"), b.order("a")
		late.Price = some("1") // it is late
		open.Status, open.Price = fulloncache.OrderOpen, fulloncache.NullDecimal{}
		want.Status = fulloncache.OrderOpen
		for _, got := range get(b.db.Orders.SaveAll(b.ctx, []fulloncache.Order{late, open}))(b) {
			if !got.Equal(want) {
				b.Errorf("got %+v", got)
			}
		}
		b.wantOrder(want)
	})
}

func TestSaveAnotherOrderOfTheID(t *testing.T) {
	books(t, func(b *book) {
		want := get(b.db.Orders.Add(b.ctx, b.order("a")))(b)
		for field, change := range map[string]func(*fulloncache.Order){
			"symbol":    func(o *fulloncache.Order) { o.Symbol = "ETH/USD" },
			"side":      func(o *fulloncache.Order) { o.Side = fulloncache.Sell },
			"bot_id":    func(o *fulloncache.Order) { o.BotID = b.botOfOther },
			"uid":       func(o *fulloncache.Order) { o.UserID = b.other },
			"ex_id":     func(o *fulloncache.Order) { o.ExchangeID = b.binance },
			"cat_ex_id": func(o *fulloncache.Order) { o.CatExchangeID = b.catalogue["binance"] },
		} {
			o := b.order("a")
			o.Status = fulloncache.OrderOpen
			change(&o)
			_, err := b.db.Orders.Save(b.ctx, o)
			b.fails(err, fulloncache.ErrDuplicate, field, fmt.Sprint(want.RecordID))
			// Not even beside the first, in one batch.
			_, err = b.db.Orders.SaveAll(b.ctx, []fulloncache.Order{o, b.order("a")})
			b.fails(err, fulloncache.ErrDuplicate, field)
			b.wantOrder(want)
		}
	})
}

func TestOrdersInBulk(t *testing.T) {
	books(t, func(b *book) {
		const many = 2500
		var orders []fulloncache.Order
		for i := range many {
			orders = append(orders, b.order(fmt.Sprintf("o%05d", i)))
		}
		stored := get(b.db.Orders.AddAll(b.ctx, orders))(b)
		for i, o := range stored {
			orders[i].RecordID = o.RecordID
			if o.RecordID == 0 || !o.Equal(orders[i]) {
				b.Fatalf("%d: %+v", i, o)
			}
		}
		_, err := b.db.Orders.AddAll(b.ctx, []fulloncache.Order{b.order("new"), b.order("o00007")})
		b.fails(err, fulloncache.ErrDuplicate, "o00007")
		_, err = b.db.Orders.AddAll(b.ctx, []fulloncache.Order{b.order("new"), b.order("new")})
		b.fails(err, fulloncache.ErrDuplicate, "new")
		_, err = b.db.Orders.ByID(b.ctx, "kraken", "new")
		b.fails(err, fulloncache.ErrNotFound)

		// Old, changed and new ones, some of them twice, in any order.
		for i := range orders {
			orders[i].Status = fulloncache.OrderOpen
		}
		twice := slices.Clone(orders)
		for i := range twice {
			twice[i].RecordID, twice[i].FinalVolume = 0, some("1")
		}
		all := slices.Concat(orders[:many/2], []fulloncache.Order{b.order("last"), b.order("last")}, twice, orders)
		stored = get(b.db.Orders.SaveAll(b.ctx, all))(b)
		if len(stored) != len(all) {
			b.Fatalf("%d rows of %d", len(stored), len(all))
		}
		for i, o := range stored {
			if o.ID != all[i].ID || o.ID != "last" && (!o.FinalVolume.Equal(some("1")) || o.Status != fulloncache.OrderOpen) {
				b.Fatalf("%d: %+v", i, o)
			}
		}
		b.wantOrder(stored[0])
		b.wantOrder(stored[many])
		if n := b.insert("SELECT count(*) FROM orders"); n != many+1 {
			b.Errorf("%d rows", n)
		}
		for name, call := range map[string]func(context.Context, []fulloncache.Order) ([]fulloncache.Order, error){
			"AddAll": b.db.Orders.AddAll, "SaveAll": b.db.Orders.SaveAll,
		} {
			if none := get(call(b.ctx, nil))(b); len(none) != 0 {
				b.Errorf("%s: %v", name, none)
			}
		}
	})
}

func TestOrdersRefuse(t *testing.T) {
	books(t, func(b *book) {
		orders := b.db.Orders
		want := get(orders.Add(b.ctx, b.order("good")))(b)
		for name, change := range map[string]func(*fulloncache.Order){
			"no id":             func(o *fulloncache.Order) { o.ID = "" },
			"a long id":         func(o *fulloncache.Order) { o.ID = strings.Repeat("x", 65) },
			"a null byte":       func(o *fulloncache.Order) { o.ID = "a\x00b" },
			"a long ex id":      func(o *fulloncache.Order) { o.ExOrderID = strings.Repeat("x", 65) },
			"a negative record": func(o *fulloncache.Order) { o.RecordID = -1 },
			"a negative bot":    func(o *fulloncache.Order) { o.BotID = -1 },
			"no exchange":       func(o *fulloncache.Order) { o.Exchange = "" },
			"a long symbol":     func(o *fulloncache.Order) { o.Symbol = strings.Repeat("x", 10_000) },
			"a side":            func(o *fulloncache.Order) { o.Side = "hold" },
			"a status":          func(o *fulloncache.Order) { o.Status = "lost" },
			"no volume":         func(o *fulloncache.Order) { o.Volume = dec("0") },
			"a negative volume": func(o *fulloncache.Order) { o.Volume = dec("-1") },
			"a negative price":  func(o *fulloncache.Order) { o.Price = some("-1") },
			"no type":           func(o *fulloncache.Order) { o.Type = "" },
			"no time":           func(o *fulloncache.Order) { o.Time = time.Time{} },
		} {
			o := b.order("bad")
			change(&o)
			for _, call := range []func(context.Context, fulloncache.Order) (fulloncache.Order, error){orders.Add, orders.Save} {
				if _, err := call(b.ctx, o); !errors.Is(err, fulloncache.ErrInvalid) || len(err.Error()) > 1000 {
					b.Errorf("%s: %v", name, err)
				}
			}
			_, err := orders.SaveAll(b.ctx, []fulloncache.Order{b.order("other"), o})
			b.fails(err, fulloncache.ErrInvalid, "order 2 of 2")
		}
		for _, s := range strange {
			_, err := orders.ByID(b.ctx, s, "good")
			b.fails(err, fulloncache.ErrNotFound)
			_, err = orders.ByID(b.ctx, "kraken", s)
			b.fails(err, fulloncache.ErrNotFound)
			_, err = orders.ByExOrderID(b.ctx, "kraken", s)
			b.fails(err, fulloncache.ErrNotFound)
			_, err = orders.UpdateStatus(b.ctx, "kraken", s, fulloncache.OrderOpen)
			b.fails(err, fulloncache.ErrNotFound)
			if s != "x" {
				_, err = orders.SetExOrderID(b.ctx, "kraken", "good", s)
				b.fails(err, fulloncache.ErrInvalid, "ex_order_id")
			}
			if found := get(orders.List(b.ctx, orm.OrderFilter{Symbol: s}))(b); s != "" && len(found) != 0 {
				b.Errorf("%q: %+v", s, found)
			}
		}
		_, err := orders.SetExOrderID(b.ctx, "kraken", "good", strings.Repeat("x", 65))
		b.fails(err, fulloncache.ErrInvalid, "ex_order_id")
		for _, id := range []int64{0, -1, 987654} {
			_, err := orders.ByRecord(b.ctx, id)
			b.fails(err, fulloncache.ErrNotFound)
			_, err = orders.Last(b.ctx, id)
			b.fails(err, fulloncache.ErrNotFound)
			b.fails(orders.Delete(b.ctx, id), fulloncache.ErrNotFound)
		}
		_, err = orders.UpdateStatus(b.ctx, "kraken", "none", fulloncache.OrderOpen)
		b.fails(err, fulloncache.ErrNotFound, "none")
		_, err = orders.UpdateStatus(b.ctx, "kraken", "good", "lost")
		b.fails(err, fulloncache.ErrInvalid, "lost")
		_, err = orders.UpdateFinalVolume(b.ctx, "kraken", "good", dec("-1"))
		b.fails(err, fulloncache.ErrInvalid, "-1")
		_, err = orders.UpdateStatuses(b.ctx, b.bot, "lost", fulloncache.OrderOpen)
		b.fails(err, fulloncache.ErrInvalid, "lost")
		_, err = orders.UpdateStatuses(b.ctx, b.bot, fulloncache.OrderNew, "lost")
		b.fails(err, fulloncache.ErrInvalid, "lost")
		for _, limit := range []int{-1, orm.MaxLimit + 1} {
			_, err := orders.List(b.ctx, orm.OrderFilter{Limit: limit})
			b.fails(err, fulloncache.ErrInvalid, "limit")
		}
		// No text of a filter is more than a text.
		for _, s := range []string{"' OR 1=1 --", `\'; DROP TABLE orders; --`, "?", "$1", "?0"} {
			if found := get(orders.List(b.ctx, orm.OrderFilter{Exchange: s, Symbol: s}))(b); len(found) != 0 {
				b.Errorf("%s: %+v", s, found)
			}
		}
		b.wantOrder(want)
		if n := b.insert("SELECT count(*) FROM orders"); n != 1 {
			b.Errorf("%d rows", n)
		}
	})
}

func TestOrderChanges(t *testing.T) {
	books(t, func(b *book) {
		orders := b.db.Orders
		want := get(orders.Add(b.ctx, b.order("a")))(b)
		status := func(s fulloncache.OrderStatus) (fulloncache.Order, error) {
			return orders.UpdateStatus(b.ctx, "kraken", "a", s)
		}
		filled := func(v string) (fulloncache.Order, error) {
			return orders.UpdateFinalVolume(b.ctx, "kraken", "a", dec(v))
		}
		exID := func(id string) (fulloncache.Order, error) { return orders.SetExOrderID(b.ctx, "kraken", "a", id) }
		ok := func(got fulloncache.Order, err error) {
			b.Helper()
			b.must(err)
			if !got.Equal(want) {
				b.Errorf("returned %+v,\nwant %+v", got, want)
			}
			b.wantOrder(want)
		}
		refused := func(kind error) func(fulloncache.Order, error) {
			return func(_ fulloncache.Order, err error) {
				b.Helper()
				b.fails(err, kind, "order kraken a")
				b.wantOrder(want)
			}
		}
		ok(status(fulloncache.OrderNew))
		want.Status = "Open"
		ok(status("Open"))
		ok(status("open")) // the same, and kept as it was spelt
		refused(fulloncache.ErrOutdated)(status(fulloncache.OrderPending))
		want.ExOrderID = "O-1"
		ok(exID("O-1"))
		want.ExOrderID = "O-2"
		ok(exID("O-2"))
		want.FinalVolume = some("0")
		ok(filled("0"))
		want.FinalVolume = some("1.25")
		ok(filled("1.25"))
		ok(filled("1.250"))
		refused(fulloncache.ErrOutdated)(filled("1.2"))
		want.Status = fulloncache.OrderPartial
		ok(status(fulloncache.OrderPartial))
		refused(fulloncache.ErrOutdated)(status(fulloncache.OrderOpen))
		want.Status = fulloncache.OrderCancelled
		ok(status(fulloncache.OrderCancelled))
		ok(status("Cancel"))
		refused(fulloncache.ErrFinal)(status(fulloncache.OrderFilled))
		refused(fulloncache.ErrFinal)(status(fulloncache.OrderOpen))
		refused(fulloncache.ErrFinal)(exID("O-3"))
		ok(exID("O-2"))
		want.FinalVolume = some("2")
		ok(filled("2")) // learned late
	})
}

func TestOrdersOfABotAreCancelled(t *testing.T) {
	books(t, func(b *book) {
		for id, change := range map[string]func(*fulloncache.Order){
			"new":     func(*fulloncache.Order) {},
			"New":     func(o *fulloncache.Order) { o.Status = "New" },
			"open":    func(o *fulloncache.Order) { o.Status = fulloncache.OrderOpen },
			"other's": func(o *fulloncache.Order) { o.BotID, o.UserID = b.botOfOther, b.other },
		} {
			o := b.order(id)
			change(&o)
			get(b.db.Orders.Add(b.ctx, o))(b)
		}
		cancel := func(want int) {
			b.Helper()
			if n := get(b.db.Orders.UpdateStatuses(b.ctx, b.bot, fulloncache.OrderNew, fulloncache.OrderCancelled))(b); n != want {
				b.Errorf("%d orders, want %d", n, want)
			}
		}
		cancel(2)
		cancel(0)
		for id, want := range map[string]fulloncache.OrderStatus{
			"new": fulloncache.OrderCancelled, "New": fulloncache.OrderCancelled, "open": fulloncache.OrderOpen, "other's": fulloncache.OrderNew,
		} {
			if got := get(b.db.Orders.ByID(b.ctx, "kraken", id))(b); got.Status != want {
				b.Errorf("%s is %s, want %s", id, got.Status, want)
			}
		}
		_, err := b.db.Orders.UpdateStatuses(b.ctx, b.bot, fulloncache.OrderCancelled, fulloncache.OrderOpen)
		b.fails(err, fulloncache.ErrFinal)
		_, err = b.db.Orders.UpdateStatuses(b.ctx, b.bot, fulloncache.OrderOpen, fulloncache.OrderNew)
		b.fails(err, fulloncache.ErrOutdated)
	})
}

func TestOrdersInPages(t *testing.T) {
	books(t, func(b *book) {
		// Times go back and forth, and some are the same to the microsecond or in full.
		times := []time.Duration{5, 3, 3, 1000, 2000, 0, 3, 999, 7_000_000_000, 1001}
		var all []fulloncache.Order
		for i, after := range times {
			o := b.order(fmt.Sprint("o", i))
			o.Time = noon.Truncate(time.Microsecond).Add(after)
			all = append(all, get(b.db.Orders.Add(b.ctx, o))(b))
		}
		slices.SortStableFunc(all, func(a, b fulloncache.Order) int { return a.Time.Compare(b.Time) })
		for _, newest := range []bool{false, true} {
			for limit := 1; limit <= len(all)+1; limit++ {
				var got []fulloncache.Order
				for f := (orm.OrderFilter{Newest: newest, Limit: limit}); ; {
					page := get(b.db.Orders.List(b.ctx, f))(b)
					if len(page) == 0 {
						break
					}
					if len(page) > limit {
						b.Fatalf("a page of %d", len(page))
					}
					got = append(got, page...)
					last := page[len(page)-1]
					f.After = orm.Cursor{Time: last.Time, ID: last.RecordID}
				}
				if !slices.EqualFunc(got, all, fulloncache.Order.Equal) {
					b.Fatalf("newest %v, limit %d: got %+v", newest, limit, got)
				}
			}
			slices.Reverse(all)
		}
		// From is in, To is not, to the nanosecond.
		got := get(b.db.Orders.List(b.ctx, orm.OrderFilter{From: all[1].Time, To: all[7].Time}))(b)
		if !slices.EqualFunc(got, all[1:7], fulloncache.Order.Equal) {
			b.Errorf("got %+v", got)
		}
	})
}

func TestOrdersByFilter(t *testing.T) {
	books(t, func(b *book) {
		for id, change := range map[string]func(*fulloncache.Order){
			"1": func(*fulloncache.Order) {},
			"2": func(o *fulloncache.Order) { o.Status = "Open" },
			"3": func(o *fulloncache.Order) { o.Status, o.Symbol = "Cancel", "ETH/USD" },
			"4": func(o *fulloncache.Order) { o.Status, o.BotID, o.UserID = "CLOSED", b.botOfOther, b.other },
			"5": func(o *fulloncache.Order) {
				o.Status, o.Exchange, o.ExchangeID, o.CatExchangeID = "partially_filled", "binance", b.binance, b.catalogue["binance"]
			},
			"6": func(o *fulloncache.Order) { o.Status = "canceled" },
		} {
			o := b.order("o" + id)
			change(&o)
			o.Time = noon.Add(time.Duration(id[0]) * time.Second)
			get(b.db.Orders.Add(b.ctx, o))(b)
		}
		ids := func(orders []fulloncache.Order) (ids string) {
			for _, o := range orders {
				ids += strings.TrimPrefix(o.ID, "o")
			}
			return ids
		}
		type statuses = []fulloncache.OrderStatus
		for _, c := range []struct {
			filter     orm.OrderFilter
			list, open string
		}{
			{orm.OrderFilter{}, "123456", "125"},
			{orm.OrderFilter{Newest: true}, "654321", "521"},
			{orm.OrderFilter{BotID: b.bot}, "12356", "125"},
			{orm.OrderFilter{UserID: b.other}, "4", ""},
			{orm.OrderFilter{ExchangeID: b.binance}, "5", "5"},
			{orm.OrderFilter{Exchange: "kraken", UserID: b.user}, "1236", "12"},
			{orm.OrderFilter{Symbol: "ETH/USD"}, "3", ""},
			{orm.OrderFilter{Statuses: statuses{"Canceled"}}, "36", ""},
			{orm.OrderFilter{Statuses: statuses{fulloncache.OrderOpen, "filled"}}, "24", "2"},
			{orm.OrderFilter{Statuses: statuses{"lost"}}, "", ""},
			{orm.OrderFilter{BotID: -1}, "", ""},
			{orm.OrderFilter{From: noon.Add(time.Hour)}, "", ""},
		} {
			if got := ids(get(b.db.Orders.List(b.ctx, c.filter))(b)); got != c.list {
				b.Errorf("%+v: got %s, want %s", c.filter, got, c.list)
			}
			if got := ids(get(b.db.Orders.Open(b.ctx, c.filter))(b)); got != c.open {
				b.Errorf("open of %+v: got %s, want %s", c.filter, got, c.open)
			}
		}
	})
}

// Writers of the same orders at once: one row each, the greatest volume, the end.
func TestOrdersSavedAtOnce(t *testing.T) {
	books(t, func(b *book) {
		const writers, orders = 6, 30
		second := b.open()
		var wg sync.WaitGroup
		for w := range writers {
			db := b.db
			if w%2 == 1 {
				db = second
			}
			wg.Go(func() {
				var batch []fulloncache.Order
				for i := range orders {
					o := b.order(fmt.Sprint("o", i))
					o.FinalVolume = fulloncache.Some(dec(fmt.Sprint(1 + w)))
					o.Status = []fulloncache.OrderStatus{fulloncache.OrderNew, fulloncache.OrderOpen, fulloncache.OrderFilled}[w%3]
					batch = append(batch, o)
				}
				if w >= writers/2 {
					slices.Reverse(batch)
				}
				_, err := db.Orders.Save(b.ctx, batch[0])
				if err != nil {
					b.Error(err)
				}
				if _, err := db.Orders.SaveAll(b.ctx, batch); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
		all := get(b.db.Orders.List(b.ctx, orm.OrderFilter{}))(b)
		if len(all) != orders {
			b.Fatalf("%d rows", len(all))
		}
		for _, o := range all {
			if o.Status != fulloncache.OrderFilled || !o.FinalVolume.Equal(some(fmt.Sprint(writers))) {
				b.Errorf("%+v", o)
			}
		}
	})
}

// An order that another writer adds between a look and the insert is merged.
func TestOrderAddedInBetween(t *testing.T) {
	books(t, func(b *book) {
		if !b.postgres {
			return // in SQLite writers come one after the other
		}
		tx, err := b.raw.BeginTx(b.ctx, nil)
		b.must(err)
		_, err = tx.ExecContext(b.ctx, `INSERT INTO orders (client_order_id, bot_id, uid, ex_id, cat_ex_id, exchange, symbol, order_type, side, volume,
			status, reason, "timestamp") VALUES ('a', $1, $2, $3, $4, 'kraken', 'BTC/USD', 'limit', 'buy', 2, 'closed', '', '2026-01-01')`,
			b.bot, b.user, b.kraken, b.catalogue["kraken"])
		b.must(err)
		done := make(chan error)
		var saved fulloncache.Order
		go func() {
			var err error
			saved, err = b.db.Orders.Save(b.ctx, b.order("a"))
			done <- err
		}()
		testenv.Eventually(b, "the writer waits", func() (bool, string) {
			n := b.insert("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")
			return n > 0, "nobody waits"
		})
		b.must(tx.Commit())
		b.must(<-done)
		if saved.Status != fulloncache.OrderFilled {
			b.Errorf("saved %+v", saved)
		}
	})
}

// Rows of programs of old: no id of their own, spellings of their own.
func TestLegacyOrders(t *testing.T) {
	books(t, func(b *book) {
		row := func(status string) int64 {
			return b.insert(`INSERT INTO orders (bot_id, uid, ex_id, cat_ex_id, exchange, symbol, order_type, side, volume, price, status, reason, "timestamp")
				VALUES ($1, $2, $3, $4, 'kraken', 'BTC/USD', 'limit', 'Buy', 0.1, 67123.45, $5, '', $6) RETURNING order_id`,
				b.bot, b.user, b.kraken, b.catalogue["kraken"], status, b.stamp("2024-02-29T23:59:59"))
		}
		record := row("Open")
		number := fmt.Sprint(record)
		want := fulloncache.Order{
			Market: fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}, ID: number, RecordID: record,
			BotID: b.bot, UserID: b.user, ExchangeID: b.kraken, CatExchangeID: b.catalogue["kraken"],
			Type: "limit", Side: fulloncache.Buy, Volume: dec("0.1"), Price: some("67123.45"), Status: "Open",
			Time: time.Date(2024, 2, 29, 23, 59, 59, 0, time.UTC),
		}
		b.wantOrder(want)
		if got := get(b.db.Orders.ByID(b.ctx, "kraken", number))(b); !got.Equal(want) {
			b.Errorf("by id: %+v", got)
		}
		if got := get(b.db.Orders.Open(b.ctx, orm.OrderFilter{BotID: b.bot}))(b); len(got) != 1 || !got[0].Equal(want) {
			b.Errorf("open: %+v", got)
		}
		for _, id := range []string{"0" + number, "+" + number, "-1", "99999999999999999999"} {
			_, err := b.db.Orders.ByID(b.ctx, "kraken", id)
			b.fails(err, fulloncache.ErrNotFound)
		}
		_, err := b.db.Orders.ByID(b.ctx, "binance", number)
		b.fails(err, fulloncache.ErrNotFound)
		_, err = b.db.Orders.Add(b.ctx, want)
		b.fails(err, fulloncache.ErrDuplicate, number)
		want.FinalVolume = some("0.1")
		get(b.db.Orders.UpdateFinalVolume(b.ctx, "kraken", number, dec("0.1")))(b)
		b.wantOrder(want)
		want.Status = fulloncache.OrderFilled
		if got := get(b.db.Orders.Save(b.ctx, want))(b); !got.Equal(want) {
			b.Errorf("saved %+v", got)
		}
		b.wantOrder(want)

		// A status that nobody knows is not final: whatever follows is news.
		record = row("Weird")
		got := get(b.db.Orders.UpdateStatus(b.ctx, "kraken", fmt.Sprint(record), fulloncache.OrderNew))(b)
		if got.Status != fulloncache.OrderNew {
			b.Errorf("got %+v", got)
		}

		// Who says an id comes before who only has the number.
		own := b.order(fmt.Sprint(record + 2))
		own = get(b.db.Orders.Add(b.ctx, own))(b)
		if record = row("New"); fmt.Sprint(record) != own.ID {
			b.Fatalf("record %d, want %s", record, own.ID)
		}
		if got := get(b.db.Orders.ByID(b.ctx, "kraken", own.ID))(b); got.RecordID != own.RecordID {
			b.Errorf("got %+v", got)
		}
		if got := get(b.db.Orders.Save(b.ctx, own))(b); got.RecordID != own.RecordID {
			b.Errorf("saved %+v", got)
		}
		if n := b.insert("SELECT count(*) FROM orders"); n != 4 {
			b.Errorf("%d rows", n)
		}
	})
}

func TestOrdersHeedTheContext(t *testing.T) {
	books(t, func(b *book) {
		orders, ctx := b.db.Orders, cancelled(b.ctx)
		want := get(orders.Add(b.ctx, b.order("a")))(b)
		for name, call := range map[string]func() error{
			"Add":               func() error { _, err := orders.Add(ctx, b.order("b")); return err },
			"Save":              func() error { _, err := orders.Save(ctx, b.order("a")); return err },
			"ByID":              func() error { _, err := orders.ByID(ctx, "kraken", "a"); return err },
			"ByRecord":          func() error { _, err := orders.ByRecord(ctx, 1); return err },
			"ByExOrderID":       func() error { _, err := orders.ByExOrderID(ctx, "kraken", "a"); return err },
			"Last":              func() error { _, err := orders.Last(ctx, b.bot); return err },
			"List":              func() error { _, err := orders.List(ctx, orm.OrderFilter{}); return err },
			"Open":              func() error { _, err := orders.Open(ctx, orm.OrderFilter{}); return err },
			"UpdateStatus":      func() error { _, err := orders.UpdateStatus(ctx, "kraken", "a", fulloncache.OrderOpen); return err },
			"UpdateFinalVolume": func() error { _, err := orders.UpdateFinalVolume(ctx, "kraken", "a", dec("1")); return err },
			"SetExOrderID":      func() error { _, err := orders.SetExOrderID(ctx, "kraken", "a", "x"); return err },
			"UpdateStatuses": func() error {
				_, err := orders.UpdateStatuses(ctx, b.bot, fulloncache.OrderNew, fulloncache.OrderOpen)
				return err
			},
			"Delete": func() error { return orders.Delete(ctx, want.RecordID) },
		} {
			if err := call(); !errors.Is(err, context.Canceled) {
				b.Errorf("%s: %v", name, err)
			}
		}
		b.wantOrder(want)
	})
}

func TestAnyOrder(t *testing.T) {
	books(t, func(b *book) {
		statuses := []fulloncache.OrderStatus{"new", "New", "PENDING", "open", "Open", "partially_filled", "closed", "Filled", "canceled", "Cancel", "rejected", "expired", "Error"}
		rapid.Check(b.T, func(t *rapid.T) {
			price := maybe(anyDecimal)
			want := fulloncache.Order{
				Market: fulloncache.Market{Exchange: rapid.SampledFrom([]string{"kraken", "binance"}).Draw(t, "exchange"), Symbol: anyText(1, 20).Draw(t, "symbol")},
				ID:     unique(t), ExOrderID: anyText(0, 20).Draw(t, "ex id"), BotID: b.bot, UserID: b.user,
				Type: anyText(1, 15).Draw(t, "type"), Side: rapid.SampledFrom([]fulloncache.Side{fulloncache.Buy, fulloncache.Sell}).Draw(t, "side"),
				Volume: positiveDecimal.Draw(t, "volume"), FinalVolume: price.Draw(t, "final volume"), Price: price.Draw(t, "price"),
				PLimit: price.Draw(t, "plimit"), Tick: price.Draw(t, "tick"), Leverage: price.Draw(t, "leverage"),
				Futures: rapid.Bool().Draw(t, "futures"), Status: rapid.SampledFrom(statuses).Draw(t, "status"),
				Command: anyText(0, 64).Draw(t, "command"), Reason: anyText(0, 35).Draw(t, "reason"), Time: anyTime.Draw(t, "time"),
			}
			want.CatExchangeID, want.ExchangeID = b.catalogue[want.Exchange], b.kraken
			if want.Exchange == "binance" {
				want.ExchangeID = b.binance
			}
			store := rapid.SampledFrom([]func(context.Context, fulloncache.Order) (fulloncache.Order, error){b.db.Orders.Add, b.db.Orders.Save}).Draw(t, "store")
			stored, err := store(b.ctx, want)
			if err != nil {
				t.Fatal(err)
			}
			want.RecordID = stored.RecordID
			got, err := b.db.Orders.ByID(b.ctx, want.Exchange, want.ID)
			if err != nil || !got.Equal(want) || !stored.Equal(want) {
				t.Fatalf("got %+v, %v,\nwant %+v", got, err, want)
			}
			// Again, it is the same; and on its own time's page.
			again, err := b.db.Orders.Save(b.ctx, want)
			if err != nil || !again.Equal(want) {
				t.Fatalf("saved again: %+v, %v", again, err)
			}
			page, err := b.db.Orders.List(b.ctx, orm.OrderFilter{From: want.Time, To: want.Time.Add(1), Symbol: want.Symbol})
			if err != nil || !slices.ContainsFunc(page, want.Equal) {
				t.Fatalf("listed %+v, %v", page, err)
			}
		})
	})
}

// A database that fullon made: its numbers, ids and texts are narrower.
func TestDatabaseOfFullon(t *testing.T) {
	t.Parallel()
	b := newBook(t, kinds[0], `
		CREATE TABLE orders (order_id serial PRIMARY KEY, bot_id integer NOT NULL, uid integer NOT NULL, ex_id integer NOT NULL,
			ex_order_id varchar(64), cat_ex_id integer NOT NULL, exchange varchar(50) NOT NULL, symbol varchar(20) NOT NULL,
			order_type varchar(15) NOT NULL, side varchar(4) NOT NULL, volume double precision NOT NULL, final_volume double precision,
			price double precision, plimit double precision, tick double precision, futures bool NOT NULL DEFAULT false,
			status varchar(20) NOT NULL, command varchar(64), reason varchar(35) NOT NULL,
			"timestamp" timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'));
		CREATE TABLE trades (trade_id serial PRIMARY KEY, ex_trade_id varchar(64) NOT NULL, ex_order_id varchar(64) NOT NULL,
			uid integer NOT NULL, ex_id integer NOT NULL, symbol varchar(20) NOT NULL, order_type varchar(15) NOT NULL, side varchar(4) NOT NULL,
			volume double precision NOT NULL, price double precision NOT NULL, cost double precision NOT NULL, fee double precision NOT NULL,
			cur_volume double precision, cur_avg_price double precision, cur_avg_cost double precision, cur_fee double precision,
			roi double precision, roi_pct double precision, total_fee double precision, leverage float,
			"time" timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'), UNIQUE (ex_trade_id, ex_order_id));
		CREATE TABLE strategies (str_id serial PRIMARY KEY, bot_id integer, cat_str_id integer NOT NULL, take_profit float, stop_loss float,
			trailing_stop float, timeout float, leverage float NOT NULL DEFAULT 1, size_pct float, size float, size_currency varchar(5),
			pre_load_bars smallint, feeds smallint DEFAULT 2, pairs bool DEFAULT False);
		INSERT INTO orders (bot_id, uid, ex_id, cat_ex_id, exchange, symbol, order_type, side, volume, final_volume, price, status, reason, "timestamp")
			VALUES (1, 1, 1, 1, 'kraken', 'BTC/USD', 'market', 'Buy', 0.1, 1e-8, 67123.45, 'Open', '', '2024-02-29 23:59:59.123456');
		INSERT INTO trades (ex_trade_id, ex_order_id, uid, ex_id, symbol, order_type, side, volume, price, cost, fee, time)
			VALUES ('T', 'O', 1, 1, 'BTC/USD', 'market', 'Sell', 0.3, 67123.45, 20137.035, 1e-7, '2024-02-29 23:59:59.123456')`)
	at := time.Date(2024, 2, 29, 23, 59, 59, 123_456_000, time.UTC)
	order := fulloncache.Order{
		Market: fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}, ID: "1", RecordID: 1, BotID: 1, UserID: 1, ExchangeID: 1, CatExchangeID: 1,
		Type: "market", Side: fulloncache.Buy, Volume: dec("0.1"), FinalVolume: some("0.00000001"), Price: some("67123.45"), Status: "Open", Time: at,
	}
	b.wantOrder(order)
	b.wantTrade(fulloncache.Trade{
		Market: fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}, ID: 1, ExTradeID: "T", ExOrderID: "O", UserID: 1, ExchangeID: 1,
		Type: "market", Side: fulloncache.Sell, Volume: dec("0.3"), Price: dec("67123.45"), Cost: dec("20137.035"), Fee: dec("0.0000001"), Time: at,
	})
	if got := get(b.db.Orders.Open(b.ctx, orm.OrderFilter{BotID: 1}))(b); len(got) != 1 || !got[0].Equal(order) {
		b.Errorf("open: %+v", got)
	}
	order.FinalVolume, order.Status, order.Price = some("0.1"), fulloncache.OrderFilled, some("0.3")
	if got := get(b.db.Orders.Save(b.ctx, order))(b); !got.Equal(order) {
		b.Errorf("saved: %+v", got)
	}
	b.wantOrder(order)
	added := get(b.db.Orders.Add(b.ctx, b.order("a")))(b)
	b.wantOrder(added)
	trade := get(b.db.Trades.Add(b.ctx, b.trade("a")))(b)
	trade.ROI = some("-1.25")
	get(b.db.Trades.UpdatePosition(b.ctx, trade.ID, orm.Position{ROI: trade.ROI}))(b)
	b.wantTrade(trade)
	wide := b.order("wide")
	wide.Reason = strings.Repeat("x", 36)
	_, err := b.db.Orders.Add(b.ctx, wide)
	b.fails(err, fulloncache.ErrInvalid)
	wide = b.order("wide")
	wide.BotID = 1 << 40
	_, err = b.db.Orders.Add(b.ctx, wide)
	b.fails(err, fulloncache.ErrInvalid)
	strategy := fulloncache.Strategy{BotID: b.bot, Name: "kind", Leverage: dec("1.5"), TakeProfit: some("2.1")}
	stored := get(b.db.Bots.AddStrategy(b.ctx, strategy))(b)
	strategy.ID, strategy.CatStrategyID = stored.ID, stored.CatStrategyID
	if !stored.Equal(strategy) {
		b.Errorf("stored %+v", stored)
	}
	b.exec("INSERT INTO strategies (bot_id, cat_str_id) VALUES ($1, $2)", b.bot, stored.CatStrategyID)
	if all := get(b.db.Bots.Strategies(b.ctx, b.bot))(b); len(all) != 2 || all[1].PreLoadBars != 0 || all[1].Feeds != 2 || !all[1].Leverage.Equal(dec("1")) {
		b.Errorf("strategies %+v", all)
	}
}

// A trade stays at its exchange when its account is gone.
func TestTradeOutlivesItsAccount(t *testing.T) {
	books(t, func(b *book) {
		want := get(b.db.Trades.Add(b.ctx, b.trade("a")))(b)
		b.exec("DELETE FROM exchanges WHERE ex_id = $1", b.kraken)
		b.wantTrade(want)
		if got := get(b.db.Trades.Last(b.ctx, orm.TradeFilter{Exchange: "kraken"}))(b); !got.Equal(want) {
			b.Errorf("got %+v", got)
		}
	})
}
