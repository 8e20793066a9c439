// Package keys names every key and channel of the cache: the data model on one
// page. A key is type:identifier:subidentifier behind the space's prefix; in
// cluster mode the identifier is the hash tag, so that what one script touches
// lives in one slot. Auxiliary keys extend the main key's name and share its
// tag.
package keys

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Space is where the keys of one configuration live.
type Space struct {
	prefix  string // with its ":", or empty
	db      string // "db0:", before every channel: pub/sub ignores the database
	cluster bool
}

// New returns the space of a prefix (letters, digits, "_", "." and "-", or
// empty), a database and a mode.
func New(prefix string, db int, cluster bool) Space {
	if prefix != "" {
		prefix += ":"
	}
	return Space{prefix: prefix, db: "db" + strconv.Itoa(db) + ":", cluster: cluster}
}

// Cluster reports whether keys carry hash tags.
func (s Space) Cluster() bool { return s.cluster }

// Prefix is what every key of the space begins with.
func (s Space) Prefix() string { return s.prefix }

// Ticker is the ticker of a symbol.
// Hash: exchange symbol price bid ask last volume time rev received. No TTL.
func (s Space) Ticker(exchange, symbol string) string {
	return s.tagged("tickers:", exchange, ":"+Symbol(symbol))
}

// TickerSymbols is the index of an exchange's tickers.
// Set of symbols as given. No TTL.
func (s Space) TickerSymbols(exchange string) string {
	return s.tagged("ticker_symbols:", exchange, "")
}

// TickerRev numbers the updates of an exchange's tickers.
// String, a counter that is at least the server's time in microseconds at the
// last update, so that it never goes back, not even after a restart without
// data. No TTL.
func (s Space) TickerRev(exchange string) string {
	return s.tagged("ticker_rev:", exchange, "")
}

// Revs are globs that match every TickerRev with its TickerBeat, TradeRev,
// OrderRev, BarRev, PositionRev, and BotRev.
func (s Space) Revs() []string {
	return []string{
		s.prefix + "ticker_rev:*", s.prefix + "trade_rev:*", s.prefix + "order_rev:*",
		s.prefix + "ohlcv_rev:*", s.prefix + "position_rev:*", s.BotRev(),
	}
}

// TickerBeat is the last sign of life of an exchange's feed.
// String, a time. TTL BeatTTL.
func (s Space) TickerBeat(exchange string) string {
	return s.tagged("ticker_rev:", exchange, ":beat")
}

// TickCrawlers is the configuration of an exchange's ticker crawlers.
// Hash: name → JSON. No TTL.
func (s Space) TickCrawlers(exchange string) string {
	return s.tagged("tick_crawlers:", exchange, "")
}

// Exchanges is the index of exchanges that have tickers. It has a slot of its
// own, so its writers add to it again and again.
// Set of exchanges as given. No TTL.
func (s Space) Exchanges() string { return s.prefix + "exchanges" }

// TickCrawlerExchanges is the index of exchanges that have crawlers configured.
// Set of exchanges as given. No TTL.
func (s Space) TickCrawlerExchanges() string { return s.prefix + "tick_crawlers" }

// Exchange is a user's account at an exchange, from the database.
// Hash: the account's id → JSON, and "" → when it was read and how long that is
// good for, see internal/aside. TTL twice CACHE_TTL_EXCHANGE.
func (s Space) Exchange(id int64) string {
	return s.tagged("exchange:", strconv.FormatInt(id, 10), "")
}

// UserExchanges is a user's accounts.
// Hash: an account's id → JSON, and "" as in Exchange. TTL as Exchange.
func (s Space) UserExchanges(user int64) string {
	return s.tagged("user_exchanges:", strconv.FormatInt(user, 10), "")
}

// CatExchanges is the catalogue of exchanges with their parameters.
// Hash: an exchange's name → JSON, and "" as in Exchange. TTL as Exchange.
func (s Space) CatExchanges() string {
	// It has no identifier: what shares its slot is tagged with its name.
	return s.tagged("", "cat_exchanges", "")
}

// ExchangeGeneration is the generation of all that is cached about exchanges:
// what carries an earlier one no longer counts.
// String, a counter that is at least the server's time in microseconds. No TTL.
func (s Space) ExchangeGeneration() string { return s.prefix + "exchange_generation" }

// Symbols is what the database knows of an exchange's symbols.
// Hash: a symbol as given → JSON, and "" as in Exchange. TTL twice
// CACHE_TTL_SYMBOL.
func (s Space) Symbols(exchange string) string {
	return s.tagged("symbols:", exchange, "")
}

// SymbolGeneration is the generation of all cached symbols, as ExchangeGeneration
// is of exchanges. No TTL.
func (s Space) SymbolGeneration() string { return s.prefix + "symbol_generation" }

// WSError is the queue of errors of an exchange's WebSocket connections.
// List of JSON, oldest first, capped. No TTL.
func (s Space) WSError(exchange string) string {
	return s.tagged("ws_error:", exchange, "")
}

// GlobalError is the queue of errors of all components.
// List of JSON, oldest first, capped. No TTL.
func (s Space) GlobalError() string { return s.prefix + "global_error" }

// NewOrders is a queue of ids of orders to execute.
// List of ids, oldest first, capped. No TTL.
func (s Space) NewOrders(queue string) string { return s.tagged("new_orders:", queue, "") }

// NewOrdersSeen are the ids that a queue of ids does not take again.
// Sorted set of ids by the microseconds at which they were pushed, capped. TTL the
// window that the last push named.
func NewOrdersSeen(queue string) string { return queue + ":seen" }

// OrderStatus is an order.
// Hash: one field per field of an order, and cached rev. TTL CACHE_TTL_ORDER
// once it is cancelled, CACHE_TTL_ORDER_FINAL once it is otherwise final.
func (s Space) OrderStatus(exchange, id string) string {
	return s.tagged("order_status:", exchange, ":"+Escape(id))
}

// Orders is the index of an exchange's open orders.
// Sorted set of ids by the orders' times in microseconds. No TTL.
func (s Space) Orders(exchange string) string { return s.tagged("orders:", exchange, "") }

// OrdersFinal is the index of an exchange's final orders.
// Sorted set of ids by the milliseconds at which the orders expire. No TTL.
func (s Space) OrdersFinal(exchange string) string { return s.tagged("orders_final:", exchange, "") }

// OrderIDs finds an exchange's orders by the ids it gave them.
// Hash: "ex:" and the exchange's id → id, "id:" and the id → the exchange's id.
// No TTL: an order's entries go when its id leaves the index.
func (s Space) OrderIDs(exchange string) string { return s.tagged("order_ids:", exchange, "") }

// OrderRev numbers the changes of an exchange's orders, as TickerRev those of its
// tickers.
func (s Space) OrderRev(exchange string) string { return s.tagged("order_rev:", exchange, "") }

// Trades are the trades of a market that nobody has taken yet.
// List of JSON, oldest first, capped. No TTL.
func (s Space) Trades(exchange, symbol string) string {
	return s.tagged("trades:", exchange, ":"+Symbol(symbol))
}

// UserTrades are the trades of a user's account that nobody has taken yet. It is
// as Trades, and has the same keys beside it.
func (s Space) UserTrades(user int64, exchange string) string {
	return s.tagged("user_trades:", User(user), ":"+Escape(exchange))
}

// TradesTaken are the batches in flight of a list of trades.
// Hash: a batch's id → its positions and its trades. No TTL: batches come back.
func TradesTaken(list string) string { return list + ":taken" }

// TradesDue says when the batches in flight come back.
// Sorted set of batches' ids by milliseconds. No TTL.
func TradesDue(list string) string { return list + ":due" }

// TradesInfo is what is known of a list of trades.
// Hash: symbol, whose trades these are; count, how many were pushed ever; rev of
// the last push; taken, how many are in flight; next, the position of what is
// taken next; front, the positions of what came back. No TTL.
func TradesInfo(list string) string { return list + ":info" }

// TradesSeen are the trades that a list does not take again.
// Sorted set of the exchange's trade ids by the microseconds at which they were
// pushed, capped. TTL the window that the last push named.
func TradesSeen(list string) string { return list + ":seen" }

// TradeRev numbers the pushes of an exchange's trades, as TickerRev the updates of
// its tickers.
func (s Space) TradeRev(exchange string) string { return s.tagged("trade_rev:", exchange, "") }

// TradeStatus says until when the trades of each exchange are known.
// Hash: an exchange as given → time. No TTL.
func (s Space) TradeStatus() string { return s.prefix + "trade_status" }

// UserTradeStatus says until when the trades of each user are known.
// Hash: a user as User names it → time. No TTL.
func (s Space) UserTradeStatus() string { return s.prefix + "user_trade_status" }

// Block is the right to trade a market, and who has it.
// Hash: symbol holder token since until; holds, each part of which has an end of its
// own; alone, while there is one hold and nobody waits. TTL until the last of them.
func (s Space) Block(exchange, symbol string) string {
	return s.tagged("block_exchange:", exchange, ":"+Symbol(symbol))
}

// Bars is a series of bars: of a market, in a timeframe.
// List of lines of text, oldest first, capped. No TTL.
func (s Space) Bars(exchange, symbol, timeframe string) string {
	return s.tagged("ohlcv:", exchange, ":"+BarsName(symbol, timeframe))
}

// BarsName names a series among those of its exchange.
func BarsName(symbol, timeframe string) string { return Symbol(symbol) + ":" + timeframe }

// BarsNameOf is the name of the series that a key of Bars holds.
func BarsNameOf(key string) string {
	symbol := strings.LastIndexByte(key, ':')
	return key[strings.LastIndexByte(key[:symbol], ':')+1:]
}

// BarSeries is the index of an exchange's series.
// Hash: a series' name → "rev cap symbol": the number of its last change, how many
// bars it holds if it has a cap of its own, else "-", and the symbol as given. No
// TTL.
func (s Space) BarSeries(exchange string) string { return s.tagged("ohlcv_series:", exchange, "") }

// BarRev numbers the changes of an exchange's bars, as TickerRev the updates of its
// tickers.
func (s Space) BarRev(exchange string) string { return s.tagged("ohlcv_rev:", exchange, "") }

// BarExchanges is the index of exchanges that have bars, kept as Exchanges is.
// Set of exchanges as given. No TTL.
func (s Space) BarExchanges() string { return s.prefix + "ohlcv_exchanges" }

// BarsChannel carries the changes of a series.
func (s Space) BarsChannel(exchange, symbol, timeframe string) string {
	return s.db + s.Bars(exchange, symbol, timeframe)
}

// BarRevChannel carries the news that the revisions of an exchange's bars began
// anew.
func (s Space) BarRevChannel(exchange string) string { return s.db + s.BarRev(exchange) }

// Blocks is the index of an exchange's blocks.
// Sorted set of symbols as given by the microseconds at which the blocks end. No
// TTL: what is over goes with the next one.
func (s Space) Blocks(exchange string) string { return s.tagged("block_exchange:", exchange, "") }

// BlockExchanges is the index of exchanges that had blocks. It is as Exchanges.
func (s Space) BlockExchanges() string { return s.prefix + "block_exchange" }

// OpeningPosition says who opens a position in a market. It, its index and the
// index of exchanges are as those of Block.
func (s Space) OpeningPosition(exchange, symbol string) string {
	return s.tagged("opening_position:", exchange, ":"+Symbol(symbol))
}

// OpeningPositions is the index of an exchange's opening positions.
func (s Space) OpeningPositions(exchange string) string {
	return s.tagged("opening_position:", exchange, "")
}

// OpeningExchanges is the index of exchanges in which positions were opened.
func (s Space) OpeningExchanges() string { return s.prefix + "opening_position" }

// Fence is the last fencing token of an exchange.
// String, a counter that is at least the server's time in microseconds when it
// last grew. No TTL.
func (s Space) Fence(exchange string) string { return s.tagged("fence:", exchange, "") }

// LeaseLine are those who wait for a lease, Block say.
// Sorted set of their requests, first come first. TTL a while beyond the last
// sign of life.
func LeaseLine(lease string) string { return lease + ":line" }

// LeaseWaiting is what is known of those who wait.
// Hash: request → until when it lives, since when it waits, its channel, symbol
// and holder. TTL as LeaseLine.
func LeaseWaiting(lease string) string { return lease + ":waiting" }

// WakeChannel carries the requests, of those that one client makes of an
// exchange's leases, whose turn it is.
func (s Space) WakeChannel(exchange, client string) string {
	return s.db + s.tagged("fence:", exchange, ":"+client)
}

// BotStatus is what a bot says of each of its feeds. The keys of all bots share a
// slot, so that one script stores, indexes and numbers.
// Hash: a feed as given → JSON of time and status, "" → revision and the bot as
// given. TTL CACHE_TTL_BOT, if that is set.
func (s Space) BotStatus(bot string) string { return s.tagged("", "bot_status", ":"+Escape(bot)) }

// Bots is the index of bots that have a status.
// Sorted set of bots as given by the microseconds at which they expire, or +inf.
// No TTL.
func (s Space) Bots() string { return s.tagged("", "bot_status", "") }

// BotRev numbers the changes of bots' status, as TickerRev those of tickers.
func (s Space) BotRev() string { return s.tagged("", "bot_status", "_rev") }

// BotChannel carries the changes of one bot's status.
func (s Space) BotChannel(bot string) string { return s.db + s.BotStatus(bot) }

// BotsChannel carries the changes of all bots' status.
func (s Space) BotsChannel() string { return s.db + s.Bots() }

// BotRevChannel carries the news that the revisions of bots began anew.
func (s Space) BotRevChannel() string { return s.db + s.BotRev() }

// Positions are the positions of a user's account at an exchange.
// Hash: a symbol as given → JSON, and "" → as of when all of them were told, if
// they were. No TTL.
func (s Space) Positions(user int64, exchange string) string {
	return s.tagged("positions:", User(user), ":"+Escape(exchange))
}

// PositionFills are the fills that count in a position.
// Sorted set of their sides and the exchange's trade ids ("buy 17") by their times
// in microseconds, capped, and "" by the time up to which no other counts. No TTL:
// it goes with the position.
func PositionFills(positions, symbol string) string { return positions + ":fills:" + Escape(symbol) }

// PositionRev numbers the changes of a user's positions, as TickerRev those of an
// exchange's tickers.
func (s Space) PositionRev(user int64) string { return s.tagged("position_rev:", User(user), "") }

// PositionAccounts is the index of accounts that have positions. It has a slot of
// its own, so its writers add to it again and again.
// Set of a user as User names it, ":" and an exchange as given. No TTL.
func (s Space) PositionAccounts() string { return s.prefix + "positions" }

// Account are the balances of a user's account at an exchange.
// Hash: a currency as given → JSON, and "" → the snapshot's time. No TTL.
func (s Space) Account(user int64, exchange string) string {
	return s.tagged("accounts:", User(user), ":"+Escape(exchange))
}

// Accounts is the index of accounts that have balances, as PositionAccounts is of
// those that have positions.
func (s Space) Accounts() string { return s.prefix + "accounts" }

// PositionsChannel carries the changes of an account's positions.
func (s Space) PositionsChannel(user int64, exchange string) string {
	return s.db + s.Positions(user, exchange)
}

// PositionRevChannel carries the news that the revisions of a user's positions
// began anew.
func (s Space) PositionRevChannel(user int64) string { return s.db + s.PositionRev(user) }

// Process is one process.
// Hash: one field per field of a process, and instance, seq and rev. TTL 24 h
// after its last heartbeat.
func (s Space) Process(kind, id string) string { return s.tagged("process:", kind, ":"+Escape(id)) }

// Processes is the index of a type's processes.
// Sorted set of ids by the microseconds of their last heartbeats. No TTL.
func (s Space) Processes(kind string) string { return s.tagged("processes:", kind, "") }

// ProcessesDue says when a type's processes count as dead.
// Sorted set of ids by microseconds; those that stopped or died are not in it.
// No TTL.
func (s Space) ProcessesDue(kind string) string { return s.tagged("processes:", kind, ":due") }

// ProcessComponents says which component each of a type's processes is.
// Hash: id → component. No TTL.
func (s Space) ProcessComponents(kind string) string {
	return s.tagged("processes:", kind, ":components")
}

// ProcessRev numbers the starts, stops and deaths of a type's processes, as
// TickerRev the updates of an exchange's tickers.
func (s Space) ProcessRev(kind string) string { return s.tagged("processes:", kind, ":rev") }

// ProcessComponent is the index of a component's processes that live.
// Sorted set of ids by the microseconds at which they started. No TTL.
func (s Space) ProcessComponent(kind, component string) string {
	return s.tagged("processes:", kind, ":component:"+Escape(component))
}

// ProcessHistory is what happened to a component's processes.
// List of JSON, newest first, capped. TTL 7 days after the last event.
func (s Space) ProcessHistory(kind, component string) string {
	return s.tagged("processes:", kind, ":history:"+Escape(component))
}

// ProcessesChannel carries the starts, stops and deaths of a type's processes.
func (s Space) ProcessesChannel(kind string) string { return s.db + s.Processes(kind) }

// ProcessRevChannel carries the news that the revisions of a type's processes
// began anew.
func (s Space) ProcessRevChannel(kind string) string { return s.db + s.ProcessRev(kind) }

// OrderChannel carries the changes of one order.
func (s Space) OrderChannel(exchange, id string) string { return s.db + s.OrderStatus(exchange, id) }

// OrdersChannel carries the changes of all orders of an exchange.
func (s Space) OrdersChannel(exchange string) string {
	return s.db + s.tagged("order_status:", exchange, "")
}

// OrderRevChannel carries the news that the revisions of an exchange's orders
// began anew.
func (s Space) OrderRevChannel(exchange string) string { return s.db + s.OrderRev(exchange) }

// TradesChannel carries the new trades of a market.
func (s Space) TradesChannel(exchange, symbol string) string {
	return s.db + s.Trades(exchange, symbol)
}

// TradeRevChannel carries the news that the revisions of an exchange's trades
// began anew.
func (s Space) TradeRevChannel(exchange string) string { return s.db + s.TradeRev(exchange) }

// Queue names the keys of one acknowledged queue: it is the stream's, and what
// lies beside it extends it.
type Queue string

// OrderQueue is an acknowledged queue of orders.
// Stream of id and body. No TTL.
func (s Space) OrderQueue(queue string) Queue {
	return Queue(s.tagged("order_queue:", queue, ""))
}

// Stream is the queue where it is not ordered.
func (q Queue) Stream() string { return string(q) }

// Partition is one of the streams of an ordered queue.
// Stream of id, key and body. No TTL.
func (q Queue) Partition(n int) string { return string(q) + ":" + strconv.Itoa(n) }

// Delayed is what waits to be delivered again.
// Sorted set: the entry's id, in an ordered queue "partition id" → when it is
// due, microseconds. No TTL.
func (q Queue) Delayed() string { return string(q) + ":delayed" }

// Dead is the queue's dead letters.
// Stream of reason, deliveries, partition, entry, and the entry's own fields.
// Capped. No TTL.
func (q Queue) Dead() string { return string(q) + ":dead" }

// Seen is the ids that were submitted of late.
// Sorted set: id → until when it counts, microseconds. TTL: the longest window.
func (q Queue) Seen() string { return string(q) + ":seen" }

// Use is how the queue is used: with partitions, or without.
// String: "ordered" or "plain". TTL a minute beyond the last sign of life of those
// who use it.
func (q Queue) Use() string { return string(q) + ":use" }

// Leases is who holds the partitions of an ordered queue.
// Hash: partition → "token until kind consumer", "token" → the last token, at
// least the server's time in microseconds, "consumer:<name>" → until. No TTL.
func (q Queue) Leases() string { return string(q) + ":leases" }

// TickerChannel carries the updates of one symbol's ticker. Sharded in cluster
// mode, like all channels.
func (s Space) TickerChannel(exchange, symbol string) string {
	return s.db + s.Ticker(exchange, symbol)
}

// ExchangeChannel carries the updates of all tickers of an exchange.
func (s Space) ExchangeChannel(exchange string) string {
	return s.db + s.tagged("tickers:", exchange, "")
}

// BeatChannel carries the signs of life of an exchange's feed, and the news that
// its revisions began anew.
func (s Space) BeatChannel(exchange string) string {
	return s.db + s.TickerRev(exchange)
}

// ChannelKey is the key that a channel is named after.
func (s Space) ChannelKey(channel string) string { return strings.TrimPrefix(channel, s.db) }

// Patterns are globs that together match every key of the space and, where
// there is a prefix, nothing of another prefix.
func (s Space) Patterns() []string {
	if s.prefix != "" {
		return []string{s.prefix + "*"}
	}
	return []string{
		"tickers:*", "ticker_symbols:*", "ticker_rev:*", "tick_crawlers:*",
		"tick_crawlers", "exchanges", "global_error",
		"exchange:*", "user_exchanges:*", "cat_exchanges", "cat_exchanges:*", "{cat_exchanges}*", "exchange_generation",
		"symbols:*", "symbol_generation", "ws_error:*",
		"new_orders:*", "order_status:*", "orders:*", "orders_final:*", "order_ids:*", "order_rev:*",
		"trades:*", "user_trades:*", "trade_rev:*", "trade_status", "user_trade_status", "order_queue:*",
		"ohlcv:*", "ohlcv_series:*", "ohlcv_rev:*", "ohlcv_exchanges",
		"block_exchange", "block_exchange:*", "opening_position", "opening_position:*", "fence:*",
		"bot_status", "bot_status:*", "bot_status_rev", "{bot_status}*",
		"positions", "positions:*", "position_rev:*", "accounts", "accounts:*",
		"process:*", "processes:*",
	}
}

// User names a user in keys and fields: user_123.
func User(id int64) string { return "user_" + strconv.FormatInt(id, 10) }

func (s Space) tagged(kind, id, rest string) string {
	id = Escape(id)
	if s.cluster {
		id = "{" + id + "}"
	}
	return s.prefix + kind + id + rest
}

// Symbol returns a symbol as keys carry it: BASE/QUOTE loses its "/", other
// bytes that would break a key or a glob are percent-encoded. Two symbols can
// meet in one name ("BTC/USD" and "BTCUSD"); the value tells them apart.
func Symbol(symbol string) string {
	if base, quote, ok := strings.Cut(symbol, "/"); ok && base != "" && quote != "" {
		symbol = base + quote
	}
	return Escape(symbol)
}

// Escape percent-encodes the bytes that would break a key, a hash tag, a glob or
// a line of text: "%", "/", ":", braces, glob characters, white space, control
// characters and what is not UTF-8. It is injective.
func Escape(name string) string {
	if plain(name) || !strings.ContainsFunc(name, special) {
		return name
	}
	var b strings.Builder
	for len(name) > 0 {
		r, size := utf8.DecodeRuneInString(name)
		for i := range size {
			if special(r) {
				const hex = "0123456789ABCDEF"
				b.Write([]byte{'%', hex[name[i]>>4], hex[name[i]&15]})
			} else {
				b.WriteByte(name[i])
			}
		}
		name = name[size:]
	}
	return b.String()
}

// plain reports whether a name is of ASCII and has nothing special, as most are.
func plain(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case c <= ' ', c >= 0x7f, strings.IndexByte(reserved, c) >= 0:
			return false
		}
	}
	return true
}

const reserved = `%/:{}*?[]\`

// special takes the replacement character, which stands for bytes that are not
// UTF-8, along with itself.
func special(r rune) bool {
	return r == utf8.RuneError || unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune(reserved, r)
}
