// Package fulloncache is the shared real-time state of a trading system, on
// Redis. Through it the bots and services of many processes follow live prices,
// take symbols, queue orders, count fills, and watch each other. Nothing stale,
// lost or rounded ever looks right.
//
//	c, err := fulloncache.Open(ctx) // settings from the environment and .env
//	if err != nil {
//		return err
//	}
//	defer c.Close()
//
//	btc := fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}
//	err = c.Ticks.Set(ctx, fulloncache.Tick{Market: btc, Price: p, Time: t}) // a feed
//	tick, err := c.Ticks.Get(ctx, btc, fulloncache.MaxAge(2*time.Second))    // a bot
//	for u, err := range c.Ticks.Stream(ctx, btc) { … }                       // or follow
//
// # The caches
//
// A [Client] has one field per cache; each type's comment has a short program, its
// guarantees, and what it cannot promise.
//
//   - [Client.Ticks]: live prices, set, read with a maximum age, followed, mirrored.
//   - [Client.OHLCV]: bars of every market and timeframe, made of ticks or trades.
//   - [Client.Bots]: the exclusive right to trade a market, with fencing tokens; and
//     what each bot says of itself.
//   - [Client.Orders]: orders handed from who makes to who executes them, at least
//     once, and what has become of each.
//   - [Client.Trades]: fills on their way to who stores them.
//   - [Client.Accounts]: positions at average cost, and balances.
//   - [Client.Processes]: which processes are alive, and which have died.
//   - [Client.Exchanges], [Client.Symbols]: what the database knows.
//   - [Client.Base]: health, keys, and the queue of errors of all components.
//
// # What the database knows
//
// PostgreSQL, or a SQLite file, stays the record: the package orm opens it, and
// [Config].ExchangeStore and [Config].SymbolStore put it behind the caches. It is
// asked once for all processes; then each answers from memory.
//
//	db, err := orm.Open(ctx, os.Getenv("DATABASE_URL"))
//	cfg.ExchangeStore, cfg.SymbolStore = db.Exchanges, db.Symbols
//	c, err := fulloncache.New(ctx, cfg)
//	s, err := c.Symbols.Get(ctx, btc)
//
// # Three ways to a price
//
// [TickCache.Get] asks Redis: one round trip, some 50 µs. [TickCache.Stream]
// delivers the current state and then every update; a slow consumer gets the
// newest of each market and the count of what it missed. [TickCache.Mirror] keeps
// whole exchanges in memory: a read takes some 20 ns and no I/O, and goes on, with
// its age, when Redis does not.
//
// # Guarantees
//
//   - A tick is stored, numbered, indexed and published in one atomic step, or not
//     at all. An older one never overwrites a newer one ([ErrOutdated]).
//   - Numbers are exact [Decimal] values from end to end, never floats.
//   - Absent ([ErrNotFound]), too old ([ErrStale]), unreadable ([ErrCorrupt]) and
//     unknown because Redis cannot answer ([ErrUnavailable]) are four different
//     errors. None looks like a price.
//   - A stream or mirror survives silence, reconnects, failovers and restarts:
//     after each, the current state comes first. Nothing is lost but ticks that
//     were replaced meanwhile.
//   - What is said about an order, late, twice and by several, is merged in one
//     atomic step: nobody undoes another's field, a final order stays final
//     ([ErrFinal]), and fills only grow.
//   - An order that was submitted is handled at least once, whoever dies; submitted
//     again it is not handled again. Trades that were drained and not acknowledged
//     come back, in order. Both may come twice after a fault.
//   - A market is leased to one bot at a time, and every lease's token is greater
//     than those before it. None of the questions "may I?" is answered with yes where
//     the answer is unknown.
//   - A fill counts once in its position, however often and by however many it is
//     applied; released and remaining cost are exactly what was paid.
//   - A bar of a time is there once; late ones go to their place.
//   - A process that dies is told to those who watch within two of its heartbeats.
//   - A row that was changed through a cache is not read from any cache
//     afterwards, even if the process that changed it died in between; one that was
//     changed in PostgreSQL by other means is not, once orm's Listen has heard of it.
//     With the database down, what is cached is still answered, with its age.
//   - Every call is bounded by its context and by a timeout; a server that is down
//     is not asked again and again (a circuit breaker).
//   - Close leaves no goroutine; nothing is global; importing does nothing.
//
// # What it does not promise
//
// Redis replicates asynchronously: a failover can lose the last moments of
// writes, which feeds write again; orders and trades that were accepted in them
// are gone, as they are when a server without appendonly restarts. A submit with
// [WaitReplicas] is not. A lease can be given twice then: whatever compares fencing
// tokens is safe, an exchange that takes none is not (see [BotCache]).
//
// A near cache that hears nothing from its server believes what it has for
// [Config].NearMaxStaleness. Ages are computed with this machine's clock: keep
// clocks in step ([BaseCache.Health] tells the offset). A breaker, a near cache and
// a mirror are of one process.
//
// # Settings
//
// See [Config]. Every setting has an environment variable; .env.example lists them.
package fulloncache
