package fulloncache_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
)

func fullBot() fulloncache.Bot {
	return fulloncache.Bot{ID: 4, UserID: 2, Name: "trend", DryRun: true, Active: true, Created: t0}
}

func fullStrategy() fulloncache.Strategy {
	return fulloncache.Strategy{
		ID: 9, BotID: 4, CatStrategyID: 6, Name: "trend", TakeProfit: some("5"), StopLoss: some("2.5"), TrailingStop: some("1"),
		Timeout: some("90"), Leverage: dec("2"), SizePct: some("10"), Size: some("100"), SizeCurrency: "USD",
		PreLoadBars: 200, Feeds: 2, Pairs: true, Params: map[string]string{"window": "14"},
	}
}

func fullFeed() fulloncache.Feed {
	return fulloncache.Feed{ID: 8, StrategyID: 9, SymbolID: 7, Period: "Minutes", Compression: 10, Order: 1}
}

func TestBotValidate(t *testing.T) {
	t.Parallel()
	type bot = fulloncache.Bot
	wantValid(t, fullBot,
		func(b *bot) { *b = bot{UserID: 1, Name: "b"} },
		func(b *bot) { b.Name = strings.Repeat("x", mostName) },
		func(b *bot) { b.Name = odd },
		func(b *bot) { b.ID, b.UserID = math.MaxInt64, math.MaxInt64 },
	)
	wantInvalid(t, fullBot, slices.Concat(
		wrongID("bot_id", 0, func(b *bot) *int64 { return &b.ID }),
		wrongID("uid", 1, func(b *bot) *int64 { return &b.UserID }),
		wrongName("bot", func(b *bot) *string { return &b.Name }),
	))
}

func TestBotEqual(t *testing.T) {
	t.Parallel()
	wantEqual(t, fullBot())
}

func TestStrategyValidate(t *testing.T) {
	t.Parallel()
	type strategy = fulloncache.Strategy
	long := strings.Repeat("x", mostName)
	param := func(name, value string) func(s *strategy) {
		return func(s *strategy) { s.Params = map[string]string{name: value} }
	}
	wantValid(t, fullStrategy,
		func(s *strategy) { *s = strategy{BotID: 1, Name: "s", Leverage: dec("1e-19")} },
		func(s *strategy) { s.Name = long },
		func(s *strategy) { s.Name, s.SizeCurrency = odd, odd },
		func(s *strategy) {
			s.TakeProfit, s.StopLoss, s.TrailingStop = some("0"), some("0"), some("0")
			s.Timeout, s.SizePct, s.Size = some("0"), some("0"), some("0")
		},
		func(s *strategy) { s.PreLoadBars, s.Feeds = mostSmall, mostSmall },
		func(s *strategy) { s.ID, s.BotID, s.CatStrategyID = math.MaxInt64, math.MaxInt64, math.MaxInt64 },
		param(long, strings.Repeat("x", 10_000)),
		param(odd, odd),
	)
	rows := []spoiled[strategy]{
		{func(s *strategy) { s.Leverage = dec("0") }, []string{"strategy trend", "leverage 0", "more than 0"}},
		{func(s *strategy) { s.Leverage = dec("-1.5") }, []string{"leverage -1.5", "more than 0"}},
		{param("", "x"), []string{"strategy trend", "parameter is empty"}},
		{param(long+"x", ""), []string{"strategy trend", "parameter", "257 bytes", "at most 256"}},
		{param(notUTF8, ""), []string{"strategy trend", "parameter", `"a\xffb"`, "UTF-8"}},
		{param("a\nb", withNull), []string{"strategy trend", `parameter "a\nb"`, `"a\x00b"`, "null"}},
		{func(s *strategy) { s.Name, s.Size = "a\nb", some("-1") }, []string{`strategy "a\nb"`, "size -1"}},
	}
	for what, field := range map[string]func(s *strategy) *fulloncache.NullDecimal{
		"take_profit":   func(s *strategy) *fulloncache.NullDecimal { return &s.TakeProfit },
		"stop_loss":     func(s *strategy) *fulloncache.NullDecimal { return &s.StopLoss },
		"trailing_stop": func(s *strategy) *fulloncache.NullDecimal { return &s.TrailingStop },
		"timeout":       func(s *strategy) *fulloncache.NullDecimal { return &s.Timeout },
		"size_pct":      func(s *strategy) *fulloncache.NullDecimal { return &s.SizePct },
		"size":          func(s *strategy) *fulloncache.NullDecimal { return &s.Size },
	} {
		rows = append(rows, spoiled[strategy]{func(s *strategy) { *field(s) = some("-0.01") }, []string{"strategy trend: " + what + " -0.01", "at least 0"}})
	}
	wantInvalid(t, fullStrategy, slices.Concat(rows,
		wrongID("str_id", 0, func(s *strategy) *int64 { return &s.ID }),
		wrongID("bot_id", 1, func(s *strategy) *int64 { return &s.BotID }),
		wrongID("cat_str_id", 0, func(s *strategy) *int64 { return &s.CatStrategyID }),
		wrongName("strategy", func(s *strategy) *string { return &s.Name }),
		wrongText("strategy trend: size_currency", func(s *strategy) *string { return &s.SizeCurrency }),
		wrongSmall("pre_load_bars", "0", "32767", func(s *strategy) *int { return &s.PreLoadBars }, -1, mostSmall+1, math.MaxInt),
		wrongSmall("feeds", "0", "32767", func(s *strategy) *int { return &s.Feeds }, -1, mostSmall+1, math.MaxInt),
	))
}

func TestStrategyEqual(t *testing.T) {
	t.Parallel()
	wantEqual(t, fullStrategy())
}

func TestFeedValidate(t *testing.T) {
	t.Parallel()
	type feed = fulloncache.Feed
	wantValid(t, fullFeed,
		func(f *feed) { *f = feed{StrategyID: 1, SymbolID: 1, Period: "p", Compression: 1} },
		func(f *feed) { f.Compression, f.Order = mostSmall, mostSmall },
		func(f *feed) { f.Period = strings.Repeat("x", mostName) },
		func(f *feed) { f.Period = odd },
		func(f *feed) { f.ID, f.StrategyID, f.SymbolID = math.MaxInt64, math.MaxInt64, math.MaxInt64 },
	)
	wantInvalid(t, fullFeed, slices.Concat(
		wrongID("feed_id", 0, func(f *feed) *int64 { return &f.ID }),
		wrongID("str_id", 1, func(f *feed) *int64 { return &f.StrategyID }),
		wrongID("symbol_id", 1, func(f *feed) *int64 { return &f.SymbolID }),
		wrongName("period", func(f *feed) *string { return &f.Period }),
		wrongSmall("compression", "1", "32767", func(f *feed) *int { return &f.Compression }, 0, -1, mostSmall+1, math.MaxInt),
		wrongSmall("order", "0", "32767", func(f *feed) *int { return &f.Order }, -1, mostSmall+1, math.MaxInt),
	))
}

func TestBotJSON(t *testing.T) {
	t.Parallel()
	wantRoundTrip(t, fulloncache.Bot.Equal)
	wantRoundTrip(t, fulloncache.Strategy.Equal)
	wantRoundTrip(t, func(a, b fulloncache.Feed) bool { return a == b })
	b := fullBot()
	b.Created = time.Date(2024, 2, 29, 23, 59, 59, 1000, time.UTC)
	wantJSON(t, b, `{"bot_id":4,"uid":2,"name":"trend","dry_run":true,"active":true,"timestamp":"2024-02-29T23:59:59.000001Z"}`)
	wantJSON(t, fulloncache.Bot{UserID: 2, Name: "b"}, `{"uid":2,"name":"b","dry_run":false,"active":false}`)
	wantJSON(t, fullStrategy(), `{"str_id":9,"bot_id":4,"cat_str_id":6,"name":"trend","take_profit":"5","stop_loss":"2.5","trailing_stop":"1",`+
		`"timeout":"90","leverage":"2","size_pct":"10","size":"100","size_currency":"USD","pre_load_bars":200,"feeds":2,"pairs":true,"params":{"window":"14"}}`)
	wantJSON(t, fulloncache.Strategy{BotID: 4, Name: "s"}, `{"bot_id":4,"name":"s","leverage":"0"}`)
	wantJSON(t, fullFeed(), `{"feed_id":8,"str_id":9,"symbol_id":7,"period":"Minutes","compression":10,"order":1}`)
	wantJSON(t, fulloncache.Feed{}, `{"str_id":0,"symbol_id":0,"period":"","compression":0,"order":0}`)
}
