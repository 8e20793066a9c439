package fulloncache_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
)

// userKey is a key of desk or, without a rest, of its user as it stands in Redis.
func (s *suite) userKey(kind, rest string) string { return s.key(kind, "user_123", rest) }

// What is stored and is no position is named, by key and field, wherever it shows,
// and hides no other; telling it anew mends it.
func TestPositionCorrupt(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		key := s.userKey("positions", ":kraken")
		good := positionOf(0, fulloncache.Long, "2", "100")
		eth := in(desk, ethUSD, good)
		must(s, c.Accounts.UpsertPosition(s.ctx, eth))
		object := func(edit ...string) string {
			fields := map[string]string{
				"rev": "5", "time": `"2020-01-02T03:04:05.000000000Z"`, "uid": "123", "exchange": `"kraken"`, "symbol": `"BTC/USD"`,
				"side": `"long"`, "volume": "2", "cost": "200", "fees": "0", "realised_profit": "0",
			}
			for i := 0; i < len(edit); i += 2 {
				if fields[edit[i]] = edit[i+1]; edit[i+1] == "" {
					delete(fields, edit[i])
				}
			}
			members := make([]string, 0, len(fields))
			for name, value := range fields {
				members = append(members, fmt.Sprintf("%q : %s", name, value))
			}
			return "{ " + strings.Join(members, " , ") + " }"
		}
		for _, damage := range []struct{ value, mentions string }{
			{"", ""},
			{"garbage", ""},
			{"[]", ""},
			{object("rev", ""), "rev"},
			{object("rev", "-1"), "rev"},
			{object("rev", `"x"`), "rev"},
			{object("time", ""), "time"},
			{object("time", `"yesterday"`), "time"},
			{object("uid", "7"), "user 7 at kraken"},
			{object("uid", "0"), "uid"},
			{object("exchange", `"bitmex"`), "user 123 at bitmex"},
			{object("symbol", `"BTCUSD"`), "BTCUSD"},
			{object("side", `"buy"`), "side"},
			{object("side", `"flat"`), "volume"},
			{object("volume", ""), "volume"},
			{object("volume", "-2"), "volume"},
			{object("volume", `"NaN"`), "volume"},
			{object("cost", ""), "cost"},
			{object("cost", "1e40"), "cost"},
			{object("fees", ""), "fees"},
			{object("fees", "null"), "fees"},
			{object("realised_profit", ""), "realised_profit"},
		} {
			s.do("HSET", key, btcUSD, damage.value)
			wants := func(err error) {
				s.Helper()
				wantCorrupt(s, err, key, btcUSD)
				wantErr(s, err, fulloncache.ErrCorrupt, damage.mentions)
			}
			_, err := c.Accounts.Position(s.ctx, desk, btcUSD)
			wants(err)
			_, err = c.Accounts.WaitPosition(s.ctx, desk, btcUSD, 0)
			wants(err)
			for _, list := range []func(func(fulloncache.Position, error) bool){c.Accounts.Positions(s.ctx, desk), c.Accounts.AllPositions(s.ctx)} {
				n := 0
				for p, err := range list {
					if n++; p.Symbol == btcUSD {
						wants(err)
					} else {
						wantPosition(s, p, err, eth)
					}
				}
				if n != 2 {
					s.Fatalf("%d positions", n)
				}
				for range list {
					break // it stops at the first
				}
			}
			w := watchPositions(s, c, desk)
			seen := 0
			for range 2 {
				if e := w.next(); e.err != nil {
					wants(e.err)
					seen++
				} else {
					wantPosition(s, e.v.Position, nil, eth)
				}
			}
			if w.cancel(); seen != 1 {
				s.Fatalf("%d errors", seen)
			}
			fill := fillOf(5, fulloncache.Buy, "1", "100")
			for _, c := range []*fulloncache.Client{c, s.open()} {
				_, err = c.Accounts.ApplyTrade(s.ctx, fill)
				if damage.value == "" {
					wantCorrupt(s, err, key, btcUSD)
				} else {
					wants(err)
				}
			}
			must(s, c.Accounts.UpsertPosition(s.ctx, good))
			stored(s, c, good)
		}
		// Any JSON of the same will do.
		s.do("HSET", key, btcUSD, object())
		p, err := c.Accounts.Position(s.ctx, desk, btcUSD)
		if must(s, err); p.Rev != 5 || !p.AvgPrice.Equal(dec("100")) {
			s.Fatalf("got %+v", p)
		}
		older := good
		older.Time = time.Date(2019, 1, 1, 0, 0, 0, 0, time.UTC)
		wantErr(s, c.Accounts.UpsertPosition(s.ctx, older), fulloncache.ErrOutdated, "2020")
	})
}

// A time that is yet to come blocks nobody for ever.
func TestPositionOfTheFuture(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		key := s.userKey("positions", ":kraken")
		good := positionOf(0, fulloncache.Long, "2", "100")
		must(s, c.Accounts.UpsertPosition(s.ctx, good))
		const late = "9000-01-01T00:00:00.000000000Z"
		p := fmt.Sprintf(`{"rev":5,"time":%q,"uid":123,"exchange":"kraken","symbol":"BTC/USD","side":"long","volume":2,"cost":200,"fees":0,"realised_profit":0}`, late)
		s.do("HSET", key, btcUSD, p)
		must(s, c.Accounts.UpsertPosition(s.ctx, good))
		stored(s, c, good)
		s.do("HSET", key, "", fmt.Sprintf(`{"rev":5,"time":%q,"uid":123,"exchange":"kraken","whole":true}`, late))
		_, err := c.Accounts.ApplyTrade(s.ctx, fillOf(5, fulloncache.Buy, "1", "100"))
		wantCorrupt(s, err, key, "")
		for _, told := range []string{"garbage", `{"rev":0}`, `{"rev":5,"time":"2020-01-02T03:04:05.000000000Z","uid":7,"exchange":"kraken"}`} {
			s.do("HSET", key, "", told)
			_, err = c.Accounts.Position(s.ctx, desk, ethUSD)
			wantCorrupt(s, err, key, "")
			n := 0
			for p, err := range c.Accounts.Positions(s.ctx, desk) {
				if n++; n == 1 {
					wantCorrupt(s, err, key, "")
				} else {
					wantPosition(s, p, err, good)
				}
			}
			if n != 2 {
				s.Fatalf("%d elements", n)
			}
			for range c.Accounts.Positions(s.ctx, desk) {
				break
			}
		}
		s.do("HSET", key, "", "garbage")
		_, err = c.Accounts.ApplyTrade(s.ctx, fillOf(5, fulloncache.Buy, "1", "100"))
		wantCorrupt(s, err, key, "")
		must(s, c.Accounts.ReplacePositions(s.ctx, desk, at(1), []fulloncache.Position{good}))
		p2, err := c.Accounts.ApplyTrade(s.ctx, fillOf(5, fulloncache.Buy, "1", "100"))
		wantPosition(s, p2, err, positionOf(5, fulloncache.Long, "3", "100"))
	})
}

// A key of another type is named, whichever it is, and nothing is half done.
func TestPositionWrongType(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		positions, rev := s.userKey("positions", ":kraken"), s.userKey("position_rev", "")
		fills, index := s.userKey("positions", ":kraken:fills:BTC%2FUSD"), s.cfg.KeyPrefix+":positions"
		n := 0
		for _, key := range []string{positions, rev, fills, index} {
			result(c.Accounts.ClearPositions(s.ctx, desk))(s)
			s.do("DEL", key)
			s.do("RPUSH", key, "x")
			inScript := key != index || s.mode.name != "cluster"
			for _, c := range []*fulloncache.Client{c, s.open()} {
				n++
				_, err := c.Accounts.ApplyTrade(s.ctx, fillOf(n, fulloncache.Buy, "1", "100"))
				if !inScript {
					must(s, err) // what is stored matters more than that it is listed
					continue
				}
				wantCorrupt(s, err, key, "")
				p := positionOf(n, fulloncache.Long, "1", "100")
				wantCorrupt(s, c.Accounts.UpsertPosition(s.ctx, p), key, "")
				wantCorrupt(s, c.Accounts.ReplacePositions(s.ctx, desk, at(n), []fulloncache.Position{p}), key, "")
			}
			if key == index {
				for _, err := range c.Accounts.AllPositions(s.ctx) {
					wantCorrupt(s, err, key, "")
				}
			}
			if key == positions {
				_, err := c.Accounts.Position(s.ctx, desk, btcUSD)
				wantCorrupt(s, err, key, "")
				for _, err := range c.Accounts.Positions(s.ctx, desk) {
					wantCorrupt(s, err, key, "")
				}
				wantCorrupt(s, c.Accounts.DeletePosition(s.ctx, desk, btcUSD), key, "")
				w := watchPositions(s, c, desk)
				wantCorrupt(s, w.next().err, key, "")
				w.cancel()
				result(c.Accounts.ClearPositions(s.ctx, desk))(s) // mends it
			}
			if key == rev {
				_, err := c.Accounts.ClearPositions(s.ctx, desk)
				wantCorrupt(s, err, key, "")
			}
			s.do("DEL", key)
			n++
			volume := "1"
			if !inScript {
				volume = "3" // with the two above
			}
			p, err := c.Accounts.ApplyTrade(s.ctx, fillOf(n, fulloncache.Buy, "1", "100"))
			wantPosition(s, p, err, positionOf(n, fulloncache.Long, volume, "100"))
		}
		// The last of its positions goes, and the index cannot be told.
		s.do("DEL", index)
		s.do("SET", index, "x")
		corrupts(c.Accounts.ClearPositions(s.ctx, desk))(s, index)
	})
}

// corrupts checks that a call named a key as corrupt.
func corrupts[T any](_ T, err error) func(s *suite, key string) {
	return func(s *suite, key string) {
		s.Helper()
		wantCorrupt(s, err, key, "")
	}
}

// An index can hold anything, and need not be true.
func TestAccountIndexCorrupt(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		p := positionOf(0, fulloncache.Long, "1", "100")
		must(s, c.Accounts.UpsertPosition(s.ctx, p))
		must(s, c.Accounts.SetAccount(s.ctx, balancesOf(desk, 0, "USD", "1")))
		bad := []string{"garbage", "user_x:kraken", "user_0:kraken", "user_1:", "user_1:\xff"}
		for _, kind := range []string{"positions", "accounts"} {
			index := s.cfg.KeyPrefix + ":" + kind
			s.do("SADD", index, append(bad, "user_99:kraken")...) // the last one has nothing
		}
		s.do("SADD", s.cfg.KeyPrefix+":positions", "user_98:kraken")
		hash := s.key("positions", "user_98", ":kraken")
		s.do("SET", hash, "x")
		seen, failed := 0, 0
		for got, err := range c.Accounts.AllPositions(s.ctx) {
			switch {
			case got.UserID == 98:
				wantCorrupt(s, err, hash, "")
				failed++
			case err != nil:
				wantErr(s, err, fulloncache.ErrCorrupt, s.cfg.KeyPrefix+":positions")
				failed++
			default:
				wantPosition(s, got, err, p)
				seen++
			}
		}
		if seen != 1 || failed != len(bad)+1 {
			s.Fatalf("%d positions, %d errors", seen, failed)
		}
		all, errs := listBalances(c.Accounts.Accounts(s.ctx))
		failed = 0
		for i, err := range errs {
			if err != nil {
				wantErr(s, err, fulloncache.ErrCorrupt, s.cfg.KeyPrefix+":accounts")
				failed++
				continue
			}
			wantBalances(s, all[i], err, balancesOf(desk, 0, "USD", "1"))
		}
		if len(all) != failed+1 || failed != len(bad) {
			s.Fatalf("%d accounts, %d errors", len(all), failed)
		}
		for range c.Accounts.Accounts(s.ctx) {
			break // it stops at the first
		}
		for range c.Accounts.AllPositions(s.ctx) {
			break
		}
	})
}

func TestBalanceCorrupt(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		key := s.userKey("accounts", ":kraken")
		good := balancesOf(desk, 0, "BTC", "1", "USD", "2")
		for _, damage := range []struct{ value, mentions string }{
			{"", ""}, {"x", ""}, {"1", ""}, {"{}", "free"}, {`{"free":1}`, "used"}, {`{"free":"x","used":0}`, "free"},
			{`{"used":-1,"free":0}`, "used"}, {`{"free":-1,"used":0}`, "free"},
		} {
			must(s, c.Accounts.SetAccount(s.ctx, good)) // and it mends what was
			s.do("HSET", key, "EUR", damage.value)
			_, err := c.Accounts.Balance(s.ctx, desk, "EUR")
			wantCorrupt(s, err, key, "EUR")
			wantErr(s, err, fulloncache.ErrCorrupt, damage.mentions)
			got, err := c.Accounts.Account(s.ctx, desk)
			wantCorrupt(s, err, key, "EUR")
			wantBalances(s, got, nil, good)
			all, errs := listBalances(c.Accounts.Accounts(s.ctx))
			if len(all) != 1 {
				s.Fatalf("got %+v", all)
			}
			wantCorrupt(s, errs[0], key, "EUR")
			wantBalances(s, all[0], nil, good)
		}
		s.do("HSET", key, "EUR", `{ "used": "2", "free": 1e-3 }`) // any JSON of the same will do
		eur, err := c.Accounts.Balance(s.ctx, desk, "EUR")
		if must(s, err); !eur.Free.Equal(dec("0.001")) || !eur.Used.Equal(dec("2")) {
			s.Fatalf("got %+v", eur)
		}
		for _, when := range []string{"yesterday", "9000-01-01T00:00:00.000000000Z", ""} {
			if when != "" {
				s.do("HSET", key, "", when)
			} else {
				s.do("HDEL", key, "")
			}
			if when[:min(1, len(when))] != "9" {
				for _, currency := range []string{"USD", "XRP"} {
					if when == "" && currency == "XRP" {
						continue // nothing is stored of it
					}
					_, err := c.Accounts.Balance(s.ctx, desk, currency)
					wantCorrupt(s, err, key, "")
				}
				_, err = c.Accounts.Account(s.ctx, desk)
				wantCorrupt(s, err, key, "")
			}
			wantCorrupt(s, c.Accounts.Touch(s.ctx, desk, at(1)), key, "")
			must(s, c.Accounts.SetAccount(s.ctx, good))
			got, err := c.Accounts.Account(s.ctx, desk)
			wantBalances(s, got, err, good)
		}
		s.do("DEL", key)
		s.do("SET", key, "x")
		wantCorrupt(s, c.Accounts.SetAccount(s.ctx, good), key, "")
		wantCorrupt(s, c.Accounts.Touch(s.ctx, desk, at(1)), key, "")
		_, err = c.Accounts.Account(s.ctx, desk)
		wantCorrupt(s, err, key, "")
		_, err = c.Accounts.Balance(s.ctx, desk, "USD")
		wantCorrupt(s, err, key, "")
		must(s, c.Accounts.DeleteAccount(s.ctx, desk)) // mends it
		must(s, c.Accounts.SetAccount(s.ctx, good))
		index := s.cfg.KeyPrefix + ":accounts"
		s.do("DEL", index)
		s.do("SET", index, "x")
		if err := s.open().Accounts.SetAccount(s.ctx, good); s.mode.name == "cluster" {
			must(s, err)
		} else {
			wantCorrupt(s, err, index, "")
		}
		wantCorrupt(s, c.Accounts.DeleteAccount(s.ctx, desk), index, "")
		_, errs := listBalances(c.Accounts.Accounts(s.ctx))
		if len(errs) != 1 {
			s.Fatalf("errors %v", errs)
		}
		wantCorrupt(s, errs[0], index, "")
	})
}
