package orm_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/embedded"
	"github.com/fullon/fulloncache/orm"
)

// report prints what went wrong.
func report(err error) {
	if err != nil {
		fmt.Println(err)
	}
}

// seeded is a database in a file, with the data of Seed.
func seeded() (db *orm.DB, end func()) {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "orm")
	if err != nil {
		panic(err)
	}
	if db, err = orm.Open(ctx, "sqlite:"+filepath.Join(dir, "fullon.db")); err != nil {
		panic(err)
	}
	report(db.Migrate(ctx))
	report(db.Seed(ctx))
	return db, func() {
		report(db.Close())
		report(os.RemoveAll(dir))
	}
}

var (
	btc     = fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}
	evening = time.Date(2026, 1, 2, 18, 0, 0, 0, time.UTC)
)

func number(s string) fulloncache.Decimal { return fulloncache.MustDecimal(s) }

func ExampleOpen() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "orm")
	report(err)
	defer os.RemoveAll(dir)
	// Or postgres://user:password@host:5432/fullon.
	db, err := orm.Open(ctx, "sqlite:"+filepath.Join(dir, "fullon.db"))
	report(err)
	defer db.Close()
	report(db.Migrate(ctx)) // as often as you like, by as many processes at once as you like
	report(db.Seed(ctx))
	migrations, err := db.Migrations(ctx)
	fmt.Println(migrations[0].Version, migrations[0].Applied.IsZero(), err)
	// Output: 1 false <nil>
}

func ExampleDB_InTx() {
	ctx := context.Background()
	db, end := seeded()
	defer end()
	full := errors.New("the desk is full")
	err := db.InTx(ctx, func(tx *orm.Tx) error {
		if _, err := tx.Users.Add(ctx, fulloncache.User{Mail: "eve@example.com", Role: "trader", Name: "Eve", LastName: "E"}); err != nil {
			return err
		}
		return full // what was done in it is undone
	})
	fmt.Println(err)
	_, err = db.Users.ByMail(ctx, "eve@example.com")
	fmt.Println(errors.Is(err, fulloncache.ErrNotFound))
	// Output:
	// the desk is full
	// true
}

func ExampleDB_Listen() {
	ctx := context.Background()
	db, end := seeded()
	defer end()
	srv, err := embedded.Start(ctx)
	report(err)
	defer srv.Close()
	cfg := srv.Config()
	cfg.ExchangeStore, cfg.SymbolStore = db.Exchanges, db.Symbols
	c, err := fulloncache.New(ctx, cfg)
	report(err)
	defer c.Close()
	// With PostgreSQL this goes on until ctx ends; SQLite tells nobody of changes.
	err = db.Listen(ctx, c)
	fmt.Println(errors.Is(err, fulloncache.ErrUnsupported))
	// Output: true
}

func ExampleUserRepository() {
	ctx := context.Background()
	db, end := seeded()
	defer end()
	ann, err := db.Users.Add(ctx, fulloncache.User{Mail: "ann@example.com", Role: "trader", Name: "Ann", LastName: "A", Active: true})
	report(err)
	ann.Phone = "123"
	ann, err = db.Users.Update(ctx, ann)
	report(err)
	byID, err := db.Users.ByID(ctx, ann.ID)
	fmt.Println(byID.Mail, byID.Phone, err)
	byMail, err := db.Users.ByMail(ctx, "ann@example.com")
	fmt.Println(byMail.ID == ann.ID, err)
	traders, err := db.Users.List(ctx, orm.UserFilter{Role: "trader"})
	fmt.Println(len(traders), err)
	report(db.Users.Delete(ctx, ann.ID))
	_, err = db.Users.ByID(ctx, ann.ID)
	fmt.Println(errors.Is(err, fulloncache.ErrNotFound))
	// Output:
	// ann@example.com 123 <nil>
	// true <nil>
	// 1 <nil>
	// true
}

func ExampleExchangeRepository() {
	ctx := context.Background()
	db, end := seeded()
	defer end()
	user, err := db.Users.ByMail(ctx, orm.SeedMail)
	report(err)

	// The catalogue: which exchanges there are.
	okx, err := db.Exchanges.AddCatalogue(ctx, fulloncache.CatExchange{Name: "okx"})
	report(err)
	report(db.Exchanges.SetParam(ctx, fulloncache.CatExchangeParam{CatExchangeID: okx.ID, Name: "rate", Value: "20"}))
	okx, err = db.Exchanges.CatalogueByID(ctx, okx.ID)
	fmt.Println(okx.Name, okx.Params["rate"], err)
	report(db.Exchanges.DeleteParam(ctx, okx.ID, "rate"))
	okx.Params, okx.OHLCVView = nil, "okx_bars"
	_, err = db.Exchanges.UpdateCatalogue(ctx, okx)
	report(err)
	okx, err = db.Exchanges.CatalogueByName(ctx, "okx")
	fmt.Println(okx.OHLCVView, err)
	all, err := db.Exchanges.Catalogue(ctx)
	fmt.Println(len(all), err)

	// The users' accounts there.
	account, err := db.Exchanges.Add(ctx, fulloncache.Exchange{UserID: user.ID, CatExchangeID: okx.ID, Name: "main", Active: true})
	report(err)
	account.Test = true
	_, err = db.Exchanges.Update(ctx, account)
	report(err)
	account, err = db.Exchanges.ByID(ctx, account.ID)
	fmt.Println(account.CatName, account.Name, account.Test, err)
	_, err = db.Exchanges.ByName(ctx, user.ID, "main")
	report(err)
	accounts, err := db.Exchanges.ByUser(ctx, user.ID)
	fmt.Println(len(accounts), err)
	accounts, err = db.Exchanges.List(ctx, orm.ExchangeFilter{CatExchangeID: okx.ID})
	fmt.Println(len(accounts), err)
	report(db.Exchanges.Delete(ctx, account.ID))
	report(db.Exchanges.DeleteCatalogue(ctx, okx.ID))
	// Output:
	// okx 20 <nil>
	// okx_bars <nil>
	// 3 <nil>
	// okx main true <nil>
	// 2 <nil>
	// 1 <nil>
}

func ExampleSymbolRepository() {
	ctx := context.Background()
	db, end := seeded()
	defer end()
	sol := fulloncache.Symbol{Market: fulloncache.Market{Exchange: "kraken", Symbol: "SOL/USD"}, Base: "SOL", Quote: "USD", Decimals: 2, LotDecimals: 8}
	sol, err := db.Symbols.Add(ctx, sol)
	report(err)
	sol.OrderMin = fulloncache.Some(number("0.02"))
	_, err = db.Symbols.Update(ctx, sol)
	report(err)
	sol, err = db.Symbols.ByID(ctx, sol.ID)
	fmt.Println(sol.Symbol, sol.OrderMin, err)
	one, err := db.Symbols.One(ctx, btc)
	fmt.Println(one.Base, one.Decimals, err)
	of, err := db.Symbols.ByExchange(ctx, "kraken")
	fmt.Println(len(of), err)
	found, err := db.Symbols.List(ctx, orm.SymbolFilter{Search: "eth"})
	fmt.Println(len(found), err)
	done, err := db.Symbols.Upsert(ctx, []fulloncache.Symbol{sol, {Market: fulloncache.Market{Exchange: "kraken", Symbol: "XRP/USD"}, Base: "XRP", Quote: "USD", Decimals: 5}})
	fmt.Println(done.Added, err)
	report(db.Symbols.Delete(ctx, sol.Market))
	// Output:
	// SOL/USD 0.02 <nil>
	// BTC 1 <nil>
	// 3 <nil>
	// 2 <nil>
	// 1 <nil>
}

func ExampleBotRepository() {
	ctx := context.Background()
	db, end := seeded()
	defer end()
	user, err := db.Users.ByMail(ctx, orm.SeedMail)
	report(err)
	accounts, err := db.Exchanges.ByUser(ctx, user.ID)
	report(err)
	symbol, err := db.Symbols.One(ctx, btc)
	report(err)

	bot, err := db.Bots.Add(ctx, fulloncache.Bot{UserID: user.ID, Name: "scalper"})
	report(err)
	bot.DryRun = true
	_, err = db.Bots.Update(ctx, bot)
	report(err)
	bot, err = db.Bots.SetActive(ctx, bot.ID, true)
	fmt.Println(bot.Name, bot.DryRun, bot.Active, err)
	_, err = db.Bots.ByID(ctx, bot.ID)
	report(err)
	_, err = db.Bots.ByName(ctx, user.ID, "scalper")
	report(err)
	bots, err := db.Bots.List(ctx, orm.BotFilter{Active: true})
	fmt.Println(len(bots), err)

	report(db.Bots.AddExchange(ctx, bot.ID, accounts[0].ID))
	exchanges, err := db.Bots.ExchangesOf(ctx, bot.ID)
	fmt.Println(len(exchanges), err)

	s, err := db.Bots.AddStrategy(ctx, fulloncache.Strategy{BotID: bot.ID, Name: "cross", Leverage: number("1"), Feeds: 1})
	report(err)
	s.StopLoss = fulloncache.Some(number("2.5"))
	_, err = db.Bots.UpdateStrategy(ctx, s)
	report(err)
	strategies, err := db.Bots.Strategies(ctx, bot.ID)
	fmt.Println(strategies[0].Name, strategies[0].StopLoss, err)
	f, err := db.Bots.AddFeed(ctx, fulloncache.Feed{StrategyID: s.ID, SymbolID: symbol.ID, Period: "Minutes", Compression: 1})
	report(err)
	f.Compression = 5
	_, err = db.Bots.UpdateFeed(ctx, f)
	report(err)
	feeds, err := db.Bots.Feeds(ctx, s.ID)
	fmt.Println(feeds[0].Compression, feeds[0].Period, err)

	report(db.Bots.DeleteFeed(ctx, f.ID))
	report(db.Bots.DeleteStrategy(ctx, s.ID))
	report(db.Bots.RemoveExchange(ctx, bot.ID, accounts[0].ID))
	report(db.Bots.Delete(ctx, bot.ID))
	// Output:
	// scalper true true <nil>
	// 1 <nil>
	// 1 <nil>
	// cross 2.5 <nil>
	// 5 Minutes <nil>
}

func ExampleOrderRepository() {
	ctx := context.Background()
	db, end := seeded()
	defer end()
	user, err := db.Users.ByMail(ctx, orm.SeedMail)
	report(err)
	bot, err := db.Bots.Add(ctx, fulloncache.Bot{UserID: user.ID, Name: "scalper"})
	report(err)
	order := func(id string) fulloncache.Order {
		return fulloncache.Order{
			Market: btc, ID: id, BotID: bot.ID, UserID: user.ID, Type: "limit", Side: fulloncache.Buy,
			Volume: number("0.5"), Price: fulloncache.Some(number("67000")), Status: fulloncache.OrderNew, Time: evening,
		}
	}
	first, err := db.Orders.Add(ctx, order("o-1"))
	report(err)
	_, err = db.Orders.AddAll(ctx, []fulloncache.Order{order("o-2"), order("o-3")})
	report(err)

	// Save is what a consumer of a queue calls: again and again does no harm.
	for range 2 {
		o := order("o-1")
		o.Status = fulloncache.OrderOpen
		_, err = db.Orders.Save(ctx, o)
		report(err)
	}
	_, err = db.Orders.SaveAll(ctx, []fulloncache.Order{order("o-2"), order("o-3")})
	report(err)
	_, err = db.Orders.SetExOrderID(ctx, "kraken", "o-1", "OX-1")
	report(err)
	_, err = db.Orders.UpdateFinalVolume(ctx, "kraken", "o-1", number("0.5"))
	report(err)
	_, err = db.Orders.UpdateStatus(ctx, "kraken", "o-1", fulloncache.OrderFilled)
	report(err)
	o, err := db.Orders.ByExOrderID(ctx, "kraken", "OX-1")
	fmt.Println(o.ID, o.Status, o.FinalVolume, err)
	_, err = db.Orders.ByID(ctx, "kraken", "o-1")
	report(err)
	_, err = db.Orders.ByRecord(ctx, first.RecordID)
	report(err)

	n, err := db.Orders.UpdateStatuses(ctx, bot.ID, fulloncache.OrderNew, fulloncache.OrderCancelled)
	fmt.Println(n, err)
	open, err := db.Orders.Open(ctx, orm.OrderFilter{Exchange: "kraken"})
	fmt.Println(len(open), err)
	all, err := db.Orders.List(ctx, orm.OrderFilter{BotID: bot.ID})
	fmt.Println(len(all), err)
	last, err := db.Orders.Last(ctx, bot.ID)
	fmt.Println(last.ID, err)
	report(db.Orders.Delete(ctx, first.RecordID))
	// Output:
	// o-1 closed 0.5 <nil>
	// 2 <nil>
	// 0 <nil>
	// 3 <nil>
	// o-3 <nil>
}

func ExampleTradeRepository() {
	ctx := context.Background()
	db, end := seeded()
	defer end()
	user, err := db.Users.ByMail(ctx, orm.SeedMail)
	report(err)
	accounts, err := db.Exchanges.ByUser(ctx, user.ID)
	report(err)
	trade := func(id string) fulloncache.Trade {
		return fulloncache.Trade{
			Market: btc, ExTradeID: id, ExOrderID: "OX-1", UserID: user.ID, ExchangeID: accounts[0].ID, Side: fulloncache.Buy,
			Volume: number("0.1"), Price: number("67000"), Cost: number("6700"), Fee: number("6.7"), Time: evening,
		}
	}
	first, err := db.Trades.Add(ctx, trade("T-1"))
	report(err)
	// A batch of a queue is stored and acknowledged; if it comes again, nothing is
	// stored twice.
	for range 2 {
		added, err := db.Trades.AddAll(ctx, []fulloncache.Trade{trade("T-2"), trade("T-3")})
		fmt.Println(added, err)
	}
	_, err = db.Trades.UpdatePosition(ctx, first.ID, orm.Position{CurVolume: fulloncache.Some(number("0.1"))})
	report(err)
	t, err := db.Trades.ByExTradeID(ctx, "T-1", "OX-1")
	fmt.Println(t.Cost, t.CurVolume, err)
	_, err = db.Trades.ByID(ctx, first.ID)
	report(err)
	open, err := db.Trades.List(ctx, orm.TradeFilter{Exchange: "kraken", Uncalculated: true})
	fmt.Println(len(open), err)
	last, err := db.Trades.Last(ctx, orm.TradeFilter{UserID: user.ID})
	fmt.Println(last.ExTradeID, err)
	report(db.Trades.Delete(ctx, first.ID))
	// Output:
	// 2 <nil>
	// 0 <nil>
	// 6700 0.1 <nil>
	// 2 <nil>
	// T-3 <nil>
}
