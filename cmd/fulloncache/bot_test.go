package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// TestBotCommands goes the way of an operator.
func TestBotCommands(t *testing.T) {
	s := newShell(t)
	out, _ := s.call(0, "", "bot", "blocks")
	if out != "EXCHANGE  SYMBOL  BOT  SINCE  UNTIL  TOKEN\n" {
		t.Errorf("got %q", out)
	}
	out, _ = s.call(0, "", "bot", "block", "kraken", "BTC/USD", "bot_1")
	if !strings.HasPrefix(out, "kraken BTC/USD  blocked by bot_1  until 20") {
		t.Errorf("got %s", out)
	}
	b := decode[fulloncache.Block](t, first(s.call(0, "", "bot", "block", "kraken", "BTC/USD", "bot_1", "--ttl", "24h", "--json")))
	if b.Symbol != "BTC/USD" || b.Holder != "bot_1" || b.Token < 1 || b.Until.Sub(b.Since).Hours() < 23 {
		t.Errorf("got %+v", b)
	}
	for _, args := range [][]string{
		{"bot", "block", "kraken", "BTC/USD", "bot_2"}, {"bot", "unblock", "kraken", "BTC/USD", "bot_2"},
		{"bot", "unblock", "kraken", "BTC/USD", "bot_2", "--json"},
	} {
		out, errs := s.call(exitError, "", args...)
		if out != "" || !strings.Contains(errs, "kraken BTC/USD is held by bot bot_1 since 20") {
			t.Errorf("%v: %s%s", args, out, errs)
		}
	}
	s.call(0, "", "bot", "block", "kraken", "ETH/USD", "bot_2")
	out, _ = s.call(0, "", "bot", "blocks", "kraken")
	if lines := strings.Split(strings.TrimSpace(out), "\n"); len(lines) != 3 || !strings.HasPrefix(lines[1], "kraken    BTC/USD  bot_1") || !strings.HasPrefix(lines[2], "kraken    ETH/USD  bot_2") {
		t.Errorf("got %s", out)
	}
	out, _ = s.call(0, "", "bot", "blocks", "--json")
	if line, rest, _ := strings.Cut(out, "\n"); decode[fulloncache.Block](t, line+"\n") != b || strings.Count(rest, "\n") != 1 {
		t.Errorf("got %s, want %+v first", out, b)
	}
	out, _ = s.call(0, "", "bot", "unblock", "kraken", "BTC/USD", "operator", "--force", "--json")
	if out != `{"exchange":"kraken","symbol":"BTC/USD","unblocked":true}`+"\n" {
		t.Errorf("got %s", out)
	}
	out, _ = s.call(0, "", "bot", "unblock", "kraken", "ETH/USD", "bot_2")
	if out != "kraken ETH/USD  free\n" {
		t.Errorf("got %s", out)
	}
	if _, errs := s.call(exitError, "", "bot", "unblock", "kraken", "ETH/USD", "bot_2"); !strings.Contains(errs, "not found") {
		t.Errorf("got %s", errs)
	}
	if out, _ = s.call(0, "", "bot", "blocks", "--json"); out != "" {
		t.Errorf("got %s", out)
	}
}

func TestBotStatusCommand(t *testing.T) {
	s := newShell(t)
	if _, errs := s.call(exitError, "", "bot", "status", "bot_1"); !strings.Contains(errs, "bot bot_1: not found") {
		t.Errorf("got %s", errs)
	}
	c, err := fulloncache.Open(s.ctx) // with the settings that the commands have
	must(t, err)
	defer c.Close()
	for bot, feed := range map[string]string{"bot_1": "btc", "bot_2": "eth"} {
		must(t, c.Bots.UpdateBot(s.ctx, bot, map[string]json.RawMessage{feed: []byte(`{"position": 1.50}`)}))
	}
	_, err = c.Bots.MarkOpeningPosition(s.ctx, fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}, "bot_1", fulloncache.BlockOptions{})
	must(t, err)
	out, _ := s.call(0, "", "bot", "blocks", "--opening", "--json")
	if b := decode[fulloncache.Block](t, out); b.Holder != "bot_1" {
		t.Errorf("got %s", out)
	}
	out, _ = s.call(0, "", "bot", "status")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 3 || strings.Fields(lines[0])[3] != "STATUS" || !strings.HasPrefix(lines[1], "bot_1  btc") || !strings.HasSuffix(lines[2], `{"position":1.50}`) {
		t.Errorf("got %s", out)
	}
	out, _ = s.call(0, "", "bot", "status", "bot_2", "--json")
	if st := decode[fulloncache.BotStatus](t, out); st.Bot != "bot_2" || string(st.Feeds["eth"].Status) != `{"position":1.50}` || st.Feeds["eth"].Time.IsZero() {
		t.Errorf("got %s", out)
	}
	// One that cannot be read hides no other.
	testenv.Redis(t).Do(t, "HSET", os.Getenv("CACHE_KEY_PREFIX")+":bot_status:bot_1", "btc", "x")
	for _, format := range [][]string{nil, {"--json"}} {
		out, errs := s.call(exitError, "", append([]string{"bot", "status"}, format...)...)
		if !strings.Contains(out, "bot_2") || strings.Contains(out, "bot_1") || !strings.Contains(errs, "bot_status:bot_1") || !strings.Contains(errs, "1 bots could not be listed") {
			t.Errorf("%s%s", out, errs)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestBotMistakes(t *testing.T) {
	s := newShell(t)
	for _, args := range [][]string{{"bot"}, {"bot", "block", "kraken", "BTC/USD"}, {"bot", "unblock"}, {"bot", "status", "a", "b"}, {"bot", "block", "a", "b", "c", "--ttl", "x"}} {
		s.call(exitUsage, "", args...)
	}
	if _, errs := s.call(exitError, "", "bot", "block", "kraken", "BTC/USD", "bot_1", "--ttl", "1ms"); !strings.Contains(errs, "TTL 1ms") {
		t.Errorf("got %s", errs)
	}
}
