package fulloncache_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
)

func TestTradeStatus(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		tr := c.Trades
		_, err := tr.Status(s.ctx, "kraken")
		wantErr(s, err, fulloncache.ErrNotFound, "kraken")
		keys, err := tr.StatusKeys(s.ctx)
		if must(s, err); len(keys) != 0 {
			s.Errorf("keys %v", keys)
		}
		odd := "a:{b}*"
		for i, exchange := range []string{"kraken", odd, "bitmex"} {
			must(s, tr.UpdateStatus(s.ctx, exchange, at(i)))
		}
		must(s, tr.UpdateStatus(s.ctx, "kraken", at(10)))
		must(s, tr.UpdateStatus(s.ctx, "kraken", at(10)))
		wantErr(s, tr.UpdateStatus(s.ctx, "kraken", at(9)), fulloncache.ErrOutdated, "kraken")
		got, err := s.open().Trades.Status(s.ctx, "kraken")
		if must(s, err); !got.Equal(at(10)) || got.Location() != time.UTC {
			s.Errorf("status %s", got)
		}
		keys, err = tr.StatusKeys(s.ctx)
		if must(s, err); !slices.Equal(keys, []string{odd, "bitmex", "kraken"}) {
			s.Errorf("keys %q", keys)
		}
		var all []string
		for status, err := range tr.Statuses(s.ctx) {
			must(s, err)
			all = append(all, fmt.Sprint(status.Exchange, status.Time.Sub(t0)))
		}
		if want := []string{odd + "1ms", "bitmex2ms", "kraken10ms"}; !slices.Equal(all, want) {
			s.Errorf("statuses %q, want %q", all, want)
		}
		for range tr.Statuses(s.ctx) {
			break
		}
		n, err := tr.DeleteStatuses(s.ctx, "kraken", "nobody")
		if must(s, err); n != 1 {
			s.Errorf("deleted %d", n)
		}
		must(s, tr.UpdateStatus(s.ctx, "kraken", at(0)))
		n, err = tr.DeleteStatuses(s.ctx)
		if must(s, err); n != 3 {
			s.Errorf("deleted %d", n)
		}
		n, err = tr.DeleteStatuses(s.ctx)
		if must(s, err); n != 0 {
			s.Errorf("deleted %d", n)
		}
		wantErr(s, tr.UpdateStatus(s.ctx, "", at(0)), fulloncache.ErrInvalid, "exchange")
		wantErr(s, tr.UpdateStatus(s.ctx, "kraken", time.Time{}), fulloncache.ErrInvalid, "time")
		_, err = tr.Status(s.ctx, "")
		wantErr(s, err, fulloncache.ErrInvalid, "exchange")
		_, err = tr.DeleteStatuses(s.ctx, "kraken", "")
		wantErr(s, err, fulloncache.ErrInvalid, "exchange")
	})
}

func TestUserTradeStatus(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		tr := c.Trades
		_, err := tr.UserStatus(s.ctx, 7)
		wantErr(s, err, fulloncache.ErrNotFound, "user_7")
		for i, user := range []int64{10, 9, 123} {
			must(s, tr.UpdateUserStatus(s.ctx, user, at(i)))
		}
		wantErr(s, tr.UpdateUserStatus(s.ctx, 123, at(1)), fulloncache.ErrOutdated, "user_123")
		got, err := tr.UserStatus(s.ctx, 123)
		if must(s, err); !got.Equal(at(2)) {
			s.Errorf("status %s", got)
		}
		users, err := tr.UserStatusKeys(s.ctx)
		if must(s, err); !slices.Equal(users, []int64{9, 10, 123}) {
			s.Errorf("users %v", users)
		}
		var all []string
		for status, err := range tr.UserStatuses(s.ctx) {
			must(s, err)
			all = append(all, fmt.Sprint(status.UserID, " ", status.Time.Sub(t0)))
		}
		if want := []string{"9 1ms", "10 0s", "123 2ms"}; !slices.Equal(all, want) {
			s.Errorf("statuses %q, want %q", all, want)
		}
		for range tr.UserStatuses(s.ctx) {
			break
		}
		n, err := tr.DeleteUserStatuses(s.ctx, 9, 11)
		if must(s, err); n != 1 {
			s.Errorf("deleted %d", n)
		}
		n, err = tr.DeleteUserStatuses(s.ctx)
		if must(s, err); n != 2 {
			s.Errorf("deleted %d", n)
		}
		wantErr(s, tr.UpdateUserStatus(s.ctx, 0, at(0)), fulloncache.ErrInvalid, "uid")
		_, err = tr.UserStatus(s.ctx, -1)
		wantErr(s, err, fulloncache.ErrInvalid, "uid")
		_, err = tr.DeleteUserStatuses(s.ctx, 0)
		wantErr(s, err, fulloncache.ErrInvalid, "uid")
	})
}

// Many at once: each for itself.
func TestTradeStatusesAtOnce(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		must(s, c.Trades.UpdateStatuses(s.ctx, nil))
		must(s, c.Trades.UpdateUserStatuses(s.ctx, nil))
		must(s, c.Trades.UpdateStatus(s.ctx, "kraken", at(5)))
		must(s, c.Trades.UpdateUserStatus(s.ctx, 7, at(5)))
		err := c.Trades.UpdateStatuses(s.ctx, []fulloncache.TradeStatus{
			{Exchange: "bitmex", Time: at(1)}, {Exchange: "kraken", Time: at(4)}, {Time: at(1)}, {Exchange: "kucoin"}, {Exchange: "binance", Time: at(2)},
		})
		wantErr(s, err, fulloncache.ErrOutdated, "3 of 5", "kraken", "exchange", "time")
		wantErr(s, err, fulloncache.ErrInvalid)
		exchanges, err := c.Trades.StatusKeys(s.ctx)
		if must(s, err); !slices.Equal(exchanges, []string{"binance", "bitmex", "kraken"}) {
			s.Errorf("exchanges %q", exchanges)
		}
		err = c.Trades.UpdateUserStatuses(s.ctx, []fulloncache.UserTradeStatus{{UserID: 8, Time: at(1)}, {UserID: 0, Time: at(1)}, {UserID: 7, Time: at(6)}})
		wantErr(s, err, fulloncache.ErrInvalid, "1 of 3", "uid")
		got, err := c.Trades.UserStatus(s.ctx, 7)
		if must(s, err); !got.Equal(at(6)) {
			s.Errorf("status %s", got)
		}
		users, err := c.Trades.UserStatusKeys(s.ctx)
		if must(s, err); !slices.Equal(users, []int64{7, 8}) {
			s.Errorf("users %v", users)
		}
	})
}

// Whoever writes last, the latest time stays.
func TestTradeStatusNeverGoesBack(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for n := range 50 {
					_ = c.Trades.UpdateStatus(s.ctx, "kraken", at(n*4+w)) // mostly outdated
				}
			})
		}
		wg.Wait()
		got, err := c.Trades.Status(s.ctx, "kraken")
		if must(s, err); !got.Equal(at(199)) {
			s.Errorf("status %s, want %s", got, at(199))
		}
	})
}

func TestTradeStatusCorrupt(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		exchanges, users := s.cfg.KeyPrefix+":trade_status", s.cfg.KeyPrefix+":user_trade_status"
		must(s, c.Trades.UpdateStatus(s.ctx, "kraken", at(0)))
		must(s, c.Trades.UpdateUserStatus(s.ctx, 7, at(0)))
		s.do("HSET", exchanges, "bitmex", "9999")
		s.do("HSET", users, "user_8", "9999", "user_x", formatted(at(0)), "9", formatted(at(0)), "user_+9", "")
		_, err := c.Trades.Status(s.ctx, "bitmex")
		wantCorrupt(s, err, exchanges, "bitmex")
		_, err = c.Trades.UserStatus(s.ctx, 8)
		wantCorrupt(s, err, users, "user_8")
		var good, bad []string
		for status, err := range c.Trades.Statuses(s.ctx) {
			if err == nil {
				good = append(good, status.Exchange)
				continue
			}
			wantCorrupt(s, err, exchanges, status.Exchange)
			bad = append(bad, status.Exchange)
		}
		for status, err := range c.Trades.UserStatuses(s.ctx) {
			if err == nil {
				good = append(good, fmt.Sprint(status.UserID))
				continue
			}
			wantErr(s, err, fulloncache.ErrCorrupt, users)
			bad = append(bad, fmt.Sprint(status.UserID))
		}
		if !slices.Equal(good, []string{"kraken", "7"}) || !slices.Equal(bad, []string{"bitmex", "0", "0", "0", "8"}) {
			s.Errorf("good %q, bad %q", good, bad)
		}
		for range c.Trades.UserStatuses(s.ctx) {
			break
		}
		ids, err := c.Trades.UserStatusKeys(s.ctx)
		wantErr(s, err, fulloncache.ErrCorrupt, "user_x", `"9"`, "user_+9")
		if !slices.Equal(ids, []int64{7, 8}) {
			s.Errorf("users %v", ids)
		}
		// What is no time gives way.
		must(s, c.Trades.UpdateStatus(s.ctx, "bitmex", at(1)))
		got, err := c.Trades.Status(s.ctx, "bitmex")
		if must(s, err); !got.Equal(at(1)) {
			s.Errorf("status %s", got)
		}
		// Another type.
		s.do("DEL", exchanges)
		s.do("SET", exchanges, "x")
		wantCorrupt(s, c.Trades.UpdateStatus(s.ctx, "kraken", at(0)), exchanges, "")
		wantCorrupt(s, c.Trades.UpdateStatuses(s.ctx, []fulloncache.TradeStatus{{Exchange: "kraken", Time: at(0)}}), exchanges, "")
		_, err = c.Trades.Status(s.ctx, "kraken")
		wantCorrupt(s, err, exchanges, "")
		_, err = c.Trades.StatusKeys(s.ctx)
		wantCorrupt(s, err, exchanges, "")
		_, err = c.Trades.DeleteStatuses(s.ctx, "kraken")
		wantCorrupt(s, err, exchanges, "")
		for _, err := range c.Trades.Statuses(s.ctx) {
			wantCorrupt(s, err, exchanges, "")
		}
		s.do("DEL", users)
		s.do("SET", users, "x")
		_, err = c.Trades.UserStatusKeys(s.ctx)
		wantCorrupt(s, err, users, "")
		for _, err := range c.Trades.UserStatuses(s.ctx) {
			wantCorrupt(s, err, users, "")
		}
		for _, forget := range []func() (int, error){
			func() (int, error) { return c.Trades.DeleteStatuses(s.ctx) },
			func() (int, error) { return c.Trades.DeleteUserStatuses(s.ctx) },
		} {
			n, err := forget()
			if must(s, err); n != 0 {
				s.Errorf("deleted %d", n)
			}
		}
		must(s, c.Trades.UpdateStatus(s.ctx, "kraken", at(0)))
	})
}

func formatted(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000000Z") }
