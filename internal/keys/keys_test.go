package keys_test

import (
	"path"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/fullon/fulloncache/internal/keys"
)

// names calls every function that names a key or a channel.
func names(s keys.Space) map[string]string {
	return map[string]string{
		"Ticker":               s.Ticker("kraken", "BTC/USD"),
		"TickerSymbols":        s.TickerSymbols("kraken"),
		"TickerRev":            s.TickerRev("kraken"),
		"TickerBeat":           s.TickerBeat("kraken"),
		"TickCrawlers":         s.TickCrawlers("kraken"),
		"Exchanges":            s.Exchanges(),
		"TickCrawlerExchanges": s.TickCrawlerExchanges(),
		"GlobalError":          s.GlobalError(),
		"TickerChannel":        s.TickerChannel("kraken", "BTC/USD"),
		"ExchangeChannel":      s.ExchangeChannel("kraken"),
		"BeatChannel":          s.BeatChannel("kraken"),
		"Exchange":             s.Exchange(12),
		"UserExchanges":        s.UserExchanges(7),
		"CatExchanges":         s.CatExchanges(),
		"ExchangeGeneration":   s.ExchangeGeneration(),
		"Symbols":              s.Symbols("kraken"),
		"SymbolGeneration":     s.SymbolGeneration(),
		"WSError":              s.WSError("kraken"),
		"NewOrders":            s.NewOrders("spot"),
		"NewOrdersSeen":        keys.NewOrdersSeen(s.NewOrders("spot")),
		"OrderStatus":          s.OrderStatus("kraken", "O:1"),
		"Orders":               s.Orders("kraken"),
		"OrdersFinal":          s.OrdersFinal("kraken"),
		"OrderIDs":             s.OrderIDs("kraken"),
		"OrderRev":             s.OrderRev("kraken"),
		"Bars":                 s.Bars("kraken", "BTC/USD", "1m"),
		"BarSeries":            s.BarSeries("kraken"),
		"BarRev":               s.BarRev("kraken"),
		"BarExchanges":         s.BarExchanges(),
		"BarsChannel":          s.BarsChannel("kraken", "BTC/USD", "1m"),
		"BarRevChannel":        s.BarRevChannel("kraken"),
		"Trades":               s.Trades("kraken", "BTC/USD"),
		"UserTrades":           s.UserTrades(123, "kraken"),
		"TradesTaken":          keys.TradesTaken(s.Trades("kraken", "BTC/USD")),
		"TradesDue":            keys.TradesDue(s.Trades("kraken", "BTC/USD")),
		"TradesInfo":           keys.TradesInfo(s.UserTrades(123, "kraken")),
		"TradesSeen":           keys.TradesSeen(s.UserTrades(123, "kraken")),
		"TradeRev":             s.TradeRev("kraken"),
		"TradeStatus":          s.TradeStatus(),
		"UserTradeStatus":      s.UserTradeStatus(),
		"OrderChannel":         s.OrderChannel("kraken", "O:1"),
		"OrdersChannel":        s.OrdersChannel("kraken"),
		"OrderRevChannel":      s.OrderRevChannel("kraken"),
		"TradesChannel":        s.TradesChannel("kraken", "BTC/USD"),
		"TradeRevChannel":      s.TradeRevChannel("kraken"),
		"OrderQueue":           s.OrderQueue("kraken").Stream(),
		"OrderQueuePartition":  s.OrderQueue("kraken").Partition(15),
		"OrderQueueDelayed":    s.OrderQueue("kraken").Delayed(),
		"OrderQueueDead":       s.OrderQueue("kraken").Dead(),
		"OrderQueueSeen":       s.OrderQueue("kraken").Seen(),
		"OrderQueueLeases":     s.OrderQueue("kraken").Leases(),
		"OrderQueueUse":        s.OrderQueue("kraken").Use(),
		"Block":                s.Block("kraken", "BTC/USD"),
		"Blocks":               s.Blocks("kraken"),
		"BlockExchanges":       s.BlockExchanges(),
		"OpeningPosition":      s.OpeningPosition("kraken", "BTC/USD"),
		"OpeningPositions":     s.OpeningPositions("kraken"),
		"OpeningExchanges":     s.OpeningExchanges(),
		"Fence":                s.Fence("kraken"),
		"LeaseLine":            keys.LeaseLine(s.Block("kraken", "BTC/USD")),
		"LeaseWaiting":         keys.LeaseWaiting(s.Block("kraken", "BTC/USD")),
		"WakeChannel":          s.WakeChannel("kraken", "C1"),
		"BotStatus":            s.BotStatus("bot:1"),
		"Bots":                 s.Bots(),
		"BotRev":               s.BotRev(),
		"BotChannel":           s.BotChannel("bot:1"),
		"BotsChannel":          s.BotsChannel(),
		"BotRevChannel":        s.BotRevChannel(),
		"Positions":            s.Positions(123, "kraken"),
		"PositionFills":        keys.PositionFills(s.Positions(123, "kraken"), "BTC/USD"),
		"PositionRev":          s.PositionRev(123),
		"PositionAccounts":     s.PositionAccounts(),
		"Account":              s.Account(123, "kraken"),
		"Accounts":             s.Accounts(),
		"PositionsChannel":     s.PositionsChannel(123, "kraken"),
		"PositionRevChannel":   s.PositionRevChannel(123),
		"Process":              s.Process("bot", "a:1"),
		"Processes":            s.Processes("bot"),
		"ProcessesDue":         s.ProcessesDue("bot"),
		"ProcessComponents":    s.ProcessComponents("bot"),
		"ProcessRev":           s.ProcessRev("bot"),
		"ProcessComponent":     s.ProcessComponent("bot", "BTC/USD"),
		"ProcessHistory":       s.ProcessHistory("bot", "BTC/USD"),
		"ProcessesChannel":     s.ProcessesChannel("bot"),
		"ProcessRevChannel":    s.ProcessRevChannel("bot"),
	}
}

// The names are what other programs and a running system's data count on.
func TestGolden(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		space keys.Space
		want  map[string]string
	}{
		{"standalone", keys.New("", 0, false), map[string]string{
			"Ticker":               "tickers:kraken:BTCUSD",
			"TickerSymbols":        "ticker_symbols:kraken",
			"TickerRev":            "ticker_rev:kraken",
			"TickerBeat":           "ticker_rev:kraken:beat",
			"TickCrawlers":         "tick_crawlers:kraken",
			"Exchanges":            "exchanges",
			"TickCrawlerExchanges": "tick_crawlers",
			"GlobalError":          "global_error",
			"TickerChannel":        "db0:tickers:kraken:BTCUSD",
			"ExchangeChannel":      "db0:tickers:kraken",
			"BeatChannel":          "db0:ticker_rev:kraken",
			"Exchange":             "exchange:12",
			"UserExchanges":        "user_exchanges:7",
			"CatExchanges":         "cat_exchanges",
			"ExchangeGeneration":   "exchange_generation",
			"Symbols":              "symbols:kraken",
			"SymbolGeneration":     "symbol_generation",
			"WSError":              "ws_error:kraken",
			"NewOrders":            "new_orders:spot",
			"NewOrdersSeen":        "new_orders:spot:seen",
			"OrderStatus":          "order_status:kraken:O%3A1",
			"Orders":               "orders:kraken",
			"OrdersFinal":          "orders_final:kraken",
			"OrderIDs":             "order_ids:kraken",
			"OrderRev":             "order_rev:kraken",
			"Bars":                 "ohlcv:kraken:BTCUSD:1m",
			"BarSeries":            "ohlcv_series:kraken",
			"BarRev":               "ohlcv_rev:kraken",
			"BarExchanges":         "ohlcv_exchanges",
			"BarsChannel":          "db0:ohlcv:kraken:BTCUSD:1m",
			"BarRevChannel":        "db0:ohlcv_rev:kraken",
			"Trades":               "trades:kraken:BTCUSD",
			"UserTrades":           "user_trades:user_123:kraken",
			"TradesTaken":          "trades:kraken:BTCUSD:taken",
			"TradesDue":            "trades:kraken:BTCUSD:due",
			"TradesInfo":           "user_trades:user_123:kraken:info",
			"TradesSeen":           "user_trades:user_123:kraken:seen",
			"TradeRev":             "trade_rev:kraken",
			"TradeStatus":          "trade_status",
			"UserTradeStatus":      "user_trade_status",
			"OrderChannel":         "db0:order_status:kraken:O%3A1",
			"OrdersChannel":        "db0:order_status:kraken",
			"OrderRevChannel":      "db0:order_rev:kraken",
			"TradesChannel":        "db0:trades:kraken:BTCUSD",
			"TradeRevChannel":      "db0:trade_rev:kraken",
			"OrderQueue":           "order_queue:kraken",
			"OrderQueuePartition":  "order_queue:kraken:15",
			"OrderQueueDelayed":    "order_queue:kraken:delayed",
			"OrderQueueDead":       "order_queue:kraken:dead",
			"OrderQueueSeen":       "order_queue:kraken:seen",
			"OrderQueueLeases":     "order_queue:kraken:leases",
			"OrderQueueUse":        "order_queue:kraken:use",
			"Block":                "block_exchange:kraken:BTCUSD",
			"Blocks":               "block_exchange:kraken",
			"BlockExchanges":       "block_exchange",
			"OpeningPosition":      "opening_position:kraken:BTCUSD",
			"OpeningPositions":     "opening_position:kraken",
			"OpeningExchanges":     "opening_position",
			"Fence":                "fence:kraken",
			"LeaseLine":            "block_exchange:kraken:BTCUSD:line",
			"LeaseWaiting":         "block_exchange:kraken:BTCUSD:waiting",
			"WakeChannel":          "db0:fence:kraken:C1",
			"BotStatus":            "bot_status:bot%3A1",
			"Bots":                 "bot_status",
			"BotRev":               "bot_status_rev",
			"BotChannel":           "db0:bot_status:bot%3A1",
			"BotsChannel":          "db0:bot_status",
			"BotRevChannel":        "db0:bot_status_rev",
			"Positions":            "positions:user_123:kraken",
			"PositionFills":        "positions:user_123:kraken:fills:BTC%2FUSD",
			"PositionRev":          "position_rev:user_123",
			"PositionAccounts":     "positions",
			"Account":              "accounts:user_123:kraken",
			"Accounts":             "accounts",
			"PositionsChannel":     "db0:positions:user_123:kraken",
			"PositionRevChannel":   "db0:position_rev:user_123",
			"Process":              "process:bot:a%3A1",
			"Processes":            "processes:bot",
			"ProcessesDue":         "processes:bot:due",
			"ProcessComponents":    "processes:bot:components",
			"ProcessRev":           "processes:bot:rev",
			"ProcessComponent":     "processes:bot:component:BTC%2FUSD",
			"ProcessHistory":       "processes:bot:history:BTC%2FUSD",
			"ProcessesChannel":     "db0:processes:bot",
			"ProcessRevChannel":    "db0:processes:bot:rev",
		}},
		{"cluster", keys.New("", 0, true), map[string]string{
			"Ticker":               "tickers:{kraken}:BTCUSD",
			"TickerSymbols":        "ticker_symbols:{kraken}",
			"TickerRev":            "ticker_rev:{kraken}",
			"TickerBeat":           "ticker_rev:{kraken}:beat",
			"TickCrawlers":         "tick_crawlers:{kraken}",
			"Exchanges":            "exchanges",
			"TickCrawlerExchanges": "tick_crawlers",
			"GlobalError":          "global_error",
			"TickerChannel":        "db0:tickers:{kraken}:BTCUSD",
			"ExchangeChannel":      "db0:tickers:{kraken}",
			"BeatChannel":          "db0:ticker_rev:{kraken}",
			"Exchange":             "exchange:{12}",
			"UserExchanges":        "user_exchanges:{7}",
			"CatExchanges":         "{cat_exchanges}",
			"ExchangeGeneration":   "exchange_generation",
			"Symbols":              "symbols:{kraken}",
			"SymbolGeneration":     "symbol_generation",
			"WSError":              "ws_error:{kraken}",
			"NewOrders":            "new_orders:{spot}",
			"NewOrdersSeen":        "new_orders:{spot}:seen",
			"OrderStatus":          "order_status:{kraken}:O%3A1",
			"Orders":               "orders:{kraken}",
			"OrdersFinal":          "orders_final:{kraken}",
			"OrderIDs":             "order_ids:{kraken}",
			"OrderRev":             "order_rev:{kraken}",
			"Bars":                 "ohlcv:{kraken}:BTCUSD:1m",
			"BarSeries":            "ohlcv_series:{kraken}",
			"BarRev":               "ohlcv_rev:{kraken}",
			"BarExchanges":         "ohlcv_exchanges",
			"BarsChannel":          "db0:ohlcv:{kraken}:BTCUSD:1m",
			"BarRevChannel":        "db0:ohlcv_rev:{kraken}",
			"Trades":               "trades:{kraken}:BTCUSD",
			"UserTrades":           "user_trades:{user_123}:kraken",
			"TradesTaken":          "trades:{kraken}:BTCUSD:taken",
			"TradesDue":            "trades:{kraken}:BTCUSD:due",
			"TradesInfo":           "user_trades:{user_123}:kraken:info",
			"TradesSeen":           "user_trades:{user_123}:kraken:seen",
			"TradeRev":             "trade_rev:{kraken}",
			"TradeStatus":          "trade_status",
			"UserTradeStatus":      "user_trade_status",
			"OrderChannel":         "db0:order_status:{kraken}:O%3A1",
			"OrdersChannel":        "db0:order_status:{kraken}",
			"OrderRevChannel":      "db0:order_rev:{kraken}",
			"TradesChannel":        "db0:trades:{kraken}:BTCUSD",
			"TradeRevChannel":      "db0:trade_rev:{kraken}",
			"OrderQueue":           "order_queue:{kraken}",
			"OrderQueuePartition":  "order_queue:{kraken}:15",
			"OrderQueueDelayed":    "order_queue:{kraken}:delayed",
			"OrderQueueDead":       "order_queue:{kraken}:dead",
			"OrderQueueSeen":       "order_queue:{kraken}:seen",
			"OrderQueueLeases":     "order_queue:{kraken}:leases",
			"OrderQueueUse":        "order_queue:{kraken}:use",
			"Block":                "block_exchange:{kraken}:BTCUSD",
			"Blocks":               "block_exchange:{kraken}",
			"BlockExchanges":       "block_exchange",
			"OpeningPosition":      "opening_position:{kraken}:BTCUSD",
			"OpeningPositions":     "opening_position:{kraken}",
			"OpeningExchanges":     "opening_position",
			"Fence":                "fence:{kraken}",
			"LeaseLine":            "block_exchange:{kraken}:BTCUSD:line",
			"LeaseWaiting":         "block_exchange:{kraken}:BTCUSD:waiting",
			"WakeChannel":          "db0:fence:{kraken}:C1",
			"BotStatus":            "{bot_status}:bot%3A1",
			"Bots":                 "{bot_status}",
			"BotRev":               "{bot_status}_rev",
			"BotChannel":           "db0:{bot_status}:bot%3A1",
			"BotsChannel":          "db0:{bot_status}",
			"BotRevChannel":        "db0:{bot_status}_rev",
			"Positions":            "positions:{user_123}:kraken",
			"PositionFills":        "positions:{user_123}:kraken:fills:BTC%2FUSD",
			"PositionRev":          "position_rev:{user_123}",
			"PositionAccounts":     "positions",
			"Account":              "accounts:{user_123}:kraken",
			"Accounts":             "accounts",
			"PositionsChannel":     "db0:positions:{user_123}:kraken",
			"PositionRevChannel":   "db0:position_rev:{user_123}",
			"Process":              "process:{bot}:a%3A1",
			"Processes":            "processes:{bot}",
			"ProcessesDue":         "processes:{bot}:due",
			"ProcessComponents":    "processes:{bot}:components",
			"ProcessRev":           "processes:{bot}:rev",
			"ProcessComponent":     "processes:{bot}:component:BTC%2FUSD",
			"ProcessHistory":       "processes:{bot}:history:BTC%2FUSD",
			"ProcessesChannel":     "db0:processes:{bot}",
			"ProcessRevChannel":    "db0:processes:{bot}:rev",
		}},
		{"prefix and database", keys.New("prod.eu", 7, false), map[string]string{
			"Ticker":               "prod.eu:tickers:kraken:BTCUSD",
			"TickerSymbols":        "prod.eu:ticker_symbols:kraken",
			"TickerRev":            "prod.eu:ticker_rev:kraken",
			"TickerBeat":           "prod.eu:ticker_rev:kraken:beat",
			"TickCrawlers":         "prod.eu:tick_crawlers:kraken",
			"Exchanges":            "prod.eu:exchanges",
			"TickCrawlerExchanges": "prod.eu:tick_crawlers",
			"GlobalError":          "prod.eu:global_error",
			"TickerChannel":        "db7:prod.eu:tickers:kraken:BTCUSD",
			"ExchangeChannel":      "db7:prod.eu:tickers:kraken",
			"BeatChannel":          "db7:prod.eu:ticker_rev:kraken",
			"Exchange":             "prod.eu:exchange:12",
			"UserExchanges":        "prod.eu:user_exchanges:7",
			"CatExchanges":         "prod.eu:cat_exchanges",
			"ExchangeGeneration":   "prod.eu:exchange_generation",
			"Symbols":              "prod.eu:symbols:kraken",
			"SymbolGeneration":     "prod.eu:symbol_generation",
			"WSError":              "prod.eu:ws_error:kraken",
			"NewOrders":            "prod.eu:new_orders:spot",
			"NewOrdersSeen":        "prod.eu:new_orders:spot:seen",
			"OrderStatus":          "prod.eu:order_status:kraken:O%3A1",
			"Orders":               "prod.eu:orders:kraken",
			"OrdersFinal":          "prod.eu:orders_final:kraken",
			"OrderIDs":             "prod.eu:order_ids:kraken",
			"OrderRev":             "prod.eu:order_rev:kraken",
			"Bars":                 "prod.eu:ohlcv:kraken:BTCUSD:1m",
			"BarSeries":            "prod.eu:ohlcv_series:kraken",
			"BarRev":               "prod.eu:ohlcv_rev:kraken",
			"BarExchanges":         "prod.eu:ohlcv_exchanges",
			"BarsChannel":          "db7:prod.eu:ohlcv:kraken:BTCUSD:1m",
			"BarRevChannel":        "db7:prod.eu:ohlcv_rev:kraken",
			"Trades":               "prod.eu:trades:kraken:BTCUSD",
			"UserTrades":           "prod.eu:user_trades:user_123:kraken",
			"TradesTaken":          "prod.eu:trades:kraken:BTCUSD:taken",
			"TradesDue":            "prod.eu:trades:kraken:BTCUSD:due",
			"TradesInfo":           "prod.eu:user_trades:user_123:kraken:info",
			"TradesSeen":           "prod.eu:user_trades:user_123:kraken:seen",
			"TradeRev":             "prod.eu:trade_rev:kraken",
			"TradeStatus":          "prod.eu:trade_status",
			"UserTradeStatus":      "prod.eu:user_trade_status",
			"OrderChannel":         "db7:prod.eu:order_status:kraken:O%3A1",
			"OrdersChannel":        "db7:prod.eu:order_status:kraken",
			"OrderRevChannel":      "db7:prod.eu:order_rev:kraken",
			"TradesChannel":        "db7:prod.eu:trades:kraken:BTCUSD",
			"TradeRevChannel":      "db7:prod.eu:trade_rev:kraken",
			"OrderQueue":           "prod.eu:order_queue:kraken",
			"OrderQueuePartition":  "prod.eu:order_queue:kraken:15",
			"OrderQueueDelayed":    "prod.eu:order_queue:kraken:delayed",
			"OrderQueueDead":       "prod.eu:order_queue:kraken:dead",
			"OrderQueueSeen":       "prod.eu:order_queue:kraken:seen",
			"OrderQueueLeases":     "prod.eu:order_queue:kraken:leases",
			"OrderQueueUse":        "prod.eu:order_queue:kraken:use",
			"Block":                "prod.eu:block_exchange:kraken:BTCUSD",
			"Blocks":               "prod.eu:block_exchange:kraken",
			"BlockExchanges":       "prod.eu:block_exchange",
			"OpeningPosition":      "prod.eu:opening_position:kraken:BTCUSD",
			"OpeningPositions":     "prod.eu:opening_position:kraken",
			"OpeningExchanges":     "prod.eu:opening_position",
			"Fence":                "prod.eu:fence:kraken",
			"LeaseLine":            "prod.eu:block_exchange:kraken:BTCUSD:line",
			"LeaseWaiting":         "prod.eu:block_exchange:kraken:BTCUSD:waiting",
			"WakeChannel":          "db7:prod.eu:fence:kraken:C1",
			"BotStatus":            "prod.eu:bot_status:bot%3A1",
			"Bots":                 "prod.eu:bot_status",
			"BotRev":               "prod.eu:bot_status_rev",
			"BotChannel":           "db7:prod.eu:bot_status:bot%3A1",
			"BotsChannel":          "db7:prod.eu:bot_status",
			"BotRevChannel":        "db7:prod.eu:bot_status_rev",
			"Positions":            "prod.eu:positions:user_123:kraken",
			"PositionFills":        "prod.eu:positions:user_123:kraken:fills:BTC%2FUSD",
			"PositionRev":          "prod.eu:position_rev:user_123",
			"PositionAccounts":     "prod.eu:positions",
			"Account":              "prod.eu:accounts:user_123:kraken",
			"Accounts":             "prod.eu:accounts",
			"PositionsChannel":     "db7:prod.eu:positions:user_123:kraken",
			"PositionRevChannel":   "db7:prod.eu:position_rev:user_123",
			"Process":              "prod.eu:process:bot:a%3A1",
			"Processes":            "prod.eu:processes:bot",
			"ProcessesDue":         "prod.eu:processes:bot:due",
			"ProcessComponents":    "prod.eu:processes:bot:components",
			"ProcessRev":           "prod.eu:processes:bot:rev",
			"ProcessComponent":     "prod.eu:processes:bot:component:BTC%2FUSD",
			"ProcessHistory":       "prod.eu:processes:bot:history:BTC%2FUSD",
			"ProcessesChannel":     "db7:prod.eu:processes:bot",
			"ProcessRevChannel":    "db7:prod.eu:processes:bot:rev",
		}},
		{"prefix in a cluster", keys.New("prod", 0, true), map[string]string{
			"Ticker":               "prod:tickers:{kraken}:BTCUSD",
			"TickerSymbols":        "prod:ticker_symbols:{kraken}",
			"TickerRev":            "prod:ticker_rev:{kraken}",
			"TickerBeat":           "prod:ticker_rev:{kraken}:beat",
			"TickCrawlers":         "prod:tick_crawlers:{kraken}",
			"Exchanges":            "prod:exchanges",
			"TickCrawlerExchanges": "prod:tick_crawlers",
			"GlobalError":          "prod:global_error",
			"TickerChannel":        "db0:prod:tickers:{kraken}:BTCUSD",
			"ExchangeChannel":      "db0:prod:tickers:{kraken}",
			"BeatChannel":          "db0:prod:ticker_rev:{kraken}",
			"Exchange":             "prod:exchange:{12}",
			"UserExchanges":        "prod:user_exchanges:{7}",
			"CatExchanges":         "prod:{cat_exchanges}",
			"ExchangeGeneration":   "prod:exchange_generation",
			"Symbols":              "prod:symbols:{kraken}",
			"SymbolGeneration":     "prod:symbol_generation",
			"WSError":              "prod:ws_error:{kraken}",
			"NewOrders":            "prod:new_orders:{spot}",
			"NewOrdersSeen":        "prod:new_orders:{spot}:seen",
			"OrderStatus":          "prod:order_status:{kraken}:O%3A1",
			"Orders":               "prod:orders:{kraken}",
			"OrdersFinal":          "prod:orders_final:{kraken}",
			"OrderIDs":             "prod:order_ids:{kraken}",
			"OrderRev":             "prod:order_rev:{kraken}",
			"Bars":                 "prod:ohlcv:{kraken}:BTCUSD:1m",
			"BarSeries":            "prod:ohlcv_series:{kraken}",
			"BarRev":               "prod:ohlcv_rev:{kraken}",
			"BarExchanges":         "prod:ohlcv_exchanges",
			"BarsChannel":          "db0:prod:ohlcv:{kraken}:BTCUSD:1m",
			"BarRevChannel":        "db0:prod:ohlcv_rev:{kraken}",
			"Trades":               "prod:trades:{kraken}:BTCUSD",
			"UserTrades":           "prod:user_trades:{user_123}:kraken",
			"TradesTaken":          "prod:trades:{kraken}:BTCUSD:taken",
			"TradesDue":            "prod:trades:{kraken}:BTCUSD:due",
			"TradesInfo":           "prod:user_trades:{user_123}:kraken:info",
			"TradesSeen":           "prod:user_trades:{user_123}:kraken:seen",
			"TradeRev":             "prod:trade_rev:{kraken}",
			"TradeStatus":          "prod:trade_status",
			"UserTradeStatus":      "prod:user_trade_status",
			"OrderChannel":         "db0:prod:order_status:{kraken}:O%3A1",
			"OrdersChannel":        "db0:prod:order_status:{kraken}",
			"OrderRevChannel":      "db0:prod:order_rev:{kraken}",
			"TradesChannel":        "db0:prod:trades:{kraken}:BTCUSD",
			"TradeRevChannel":      "db0:prod:trade_rev:{kraken}",
			"OrderQueue":           "prod:order_queue:{kraken}",
			"OrderQueuePartition":  "prod:order_queue:{kraken}:15",
			"OrderQueueDelayed":    "prod:order_queue:{kraken}:delayed",
			"OrderQueueDead":       "prod:order_queue:{kraken}:dead",
			"OrderQueueSeen":       "prod:order_queue:{kraken}:seen",
			"OrderQueueLeases":     "prod:order_queue:{kraken}:leases",
			"OrderQueueUse":        "prod:order_queue:{kraken}:use",
			"Block":                "prod:block_exchange:{kraken}:BTCUSD",
			"Blocks":               "prod:block_exchange:{kraken}",
			"BlockExchanges":       "prod:block_exchange",
			"OpeningPosition":      "prod:opening_position:{kraken}:BTCUSD",
			"OpeningPositions":     "prod:opening_position:{kraken}",
			"OpeningExchanges":     "prod:opening_position",
			"Fence":                "prod:fence:{kraken}",
			"LeaseLine":            "prod:block_exchange:{kraken}:BTCUSD:line",
			"LeaseWaiting":         "prod:block_exchange:{kraken}:BTCUSD:waiting",
			"WakeChannel":          "db0:prod:fence:{kraken}:C1",
			"BotStatus":            "prod:{bot_status}:bot%3A1",
			"Bots":                 "prod:{bot_status}",
			"BotRev":               "prod:{bot_status}_rev",
			"BotChannel":           "db0:prod:{bot_status}:bot%3A1",
			"BotsChannel":          "db0:prod:{bot_status}",
			"BotRevChannel":        "db0:prod:{bot_status}_rev",
			"Positions":            "prod:positions:{user_123}:kraken",
			"PositionFills":        "prod:positions:{user_123}:kraken:fills:BTC%2FUSD",
			"PositionRev":          "prod:position_rev:{user_123}",
			"PositionAccounts":     "prod:positions",
			"Account":              "prod:accounts:{user_123}:kraken",
			"Accounts":             "prod:accounts",
			"PositionsChannel":     "db0:prod:positions:{user_123}:kraken",
			"PositionRevChannel":   "db0:prod:position_rev:{user_123}",
			"Process":              "prod:process:{bot}:a%3A1",
			"Processes":            "prod:processes:{bot}",
			"ProcessesDue":         "prod:processes:{bot}:due",
			"ProcessComponents":    "prod:processes:{bot}:components",
			"ProcessRev":           "prod:processes:{bot}:rev",
			"ProcessComponent":     "prod:processes:{bot}:component:BTC%2FUSD",
			"ProcessHistory":       "prod:processes:{bot}:history:BTC%2FUSD",
			"ProcessesChannel":     "db0:prod:processes:{bot}",
			"ProcessRevChannel":    "db0:prod:processes:{bot}:rev",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for name, got := range names(c.space) {
				if got != c.want[name] {
					t.Errorf("%s is %q, want %q", name, got, c.want[name])
				}
				key := got
				if strings.HasSuffix(name, "Channel") {
					key = c.space.ChannelKey(got)
					if key == got || !strings.HasSuffix(got, key) {
						t.Errorf("%s %q is of key %q", name, got, key)
					}
				}
				if !strings.HasPrefix(key, c.space.Prefix()) {
					t.Errorf("%s %q lacks the prefix %q", name, key, c.space.Prefix())
				}
				matched := 0
				for _, p := range c.space.Patterns() {
					if ok, err := path.Match(p, key); err != nil {
						t.Fatal(err)
					} else if ok {
						matched++
					}
				}
				if matched == 0 {
					t.Errorf("no pattern of %q matches %s %q", c.space.Patterns(), name, key)
				}
			}
		})
	}
	if !keys.New("", 0, true).Cluster() || keys.New("", 0, false).Cluster() {
		t.Error("Cluster does not tell the mode")
	}
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	if got := keys.New("prod", 0, false).Patterns(); len(got) != 1 || got[0] != "prod:*" {
		t.Errorf("patterns %q", got)
	}
	for name, key := range names(keys.New("prod2", 0, false)) {
		if ok, _ := path.Match("prod:*", key); ok {
			t.Errorf("prod:* matches %s %q of prod2", name, key)
		}
	}
	for _, p := range keys.New("", 0, false).Patterns() {
		for _, foreign := range []string{"prod:tickers:kraken:BTCUSD", "sessions:1", "exchanges2", "global_error:x", "tickers"} {
			if ok, _ := path.Match(p, foreign); ok {
				t.Errorf("%q matches the foreign key %q", p, foreign)
			}
		}
	}
}

func TestSymbol(t *testing.T) {
	t.Parallel()
	for symbol, want := range map[string]string{
		"BTC/USD":       "BTCUSD",
		"BTCUSD":        "BTCUSD",
		"BTC/USDT:USDT": "BTCUSDT%3AUSDT",
		"A/B/C":         "AB%2FC",
		"/USD":          "%2FUSD",
		"BTC/":          "BTC%2F",
		"/":             "%2F",
		"":              "",
		"a{b}*?[c]\\d":  "a%7Bb%7D%2A%3F%5Bc%5D%5Cd",
		"100%":          "100%25",
		"a b\t":         "a%20b%09",
		"\xff\x00":      "%FF%00",
		"é/€":           "é€",
		"\u2028":        "%E2%80%A8",
	} {
		if got := keys.Symbol(symbol); got != want {
			t.Errorf("Symbol(%q) = %q, want %q", symbol, got, want)
		}
	}
}

var name = rapid.OneOf(
	rapid.String(),
	rapid.StringMatching(`[%/:{}*?\[\]\\ 0-9A-F]{0,8}`),
	rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 8), func(b []byte) string { return string(b) }),
)

// unescape is the inverse that shows that no two names meet.
func unescape(t rapid.TB, s string) string {
	var b []byte
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		const hex = "0123456789ABCDEF"
		if i+2 >= len(s) {
			t.Fatalf("%q ends within an escape", s)
		}
		hi, lo := strings.IndexByte(hex, s[i+1]), strings.IndexByte(hex, s[i+2])
		if hi < 0 || lo < 0 {
			t.Fatalf("%q has a malformed escape", s)
		}
		b = append(b, byte(hi<<4|lo))
		i += 2
	}
	return string(b)
}

func TestEscapeProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := name.Draw(t, "name")
		out := keys.Escape(in)
		if back := unescape(t, out); back != in {
			t.Fatalf("%q became %q, which is %q", in, out, back)
		}
		if !utf8.ValidString(out) || strings.ContainsAny(out, `/:{}*?[]\`) ||
			strings.ContainsFunc(out, unicode.IsSpace) || strings.ContainsFunc(out, unicode.IsControl) {
			t.Fatalf("%q became %q", in, out)
		}
		if in == "" {
			return
		}
		// The tag is the whole name and ends where the key's part does.
		key := keys.New("", 0, true).Ticker(in, "X")
		open, end := strings.IndexByte(key, '{'), strings.IndexByte(key, '}')
		if key[open+1:end] != out || strings.Count(key, "{") != 1 || strings.Count(key, "}") != 1 {
			t.Fatalf("the tag of %q is not %q", key, out)
		}
	})
}

// Two markets share a key only where base and quote run together.
func TestTickerKeysKeepMarketsApart(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := keys.New("", 0, rapid.Bool().Draw(t, "cluster"))
		e1, s1 := name.Draw(t, "exchange 1"), name.Draw(t, "symbol 1")
		e2, s2 := name.Draw(t, "exchange 2"), name.Draw(t, "symbol 2")
		joined := func(s string) string {
			if base, quote, ok := strings.Cut(s, "/"); ok && base != "" && quote != "" {
				return base + quote
			}
			return s
		}
		same := e1 == e2 && joined(s1) == joined(s2)
		if (s.Ticker(e1, s1) == s.Ticker(e2, s2)) != same {
			t.Fatalf("%q %q and %q %q: %q and %q", e1, s1, e2, s2, s.Ticker(e1, s1), s.Ticker(e2, s2))
		}
	})
}
