package fulloncache_test

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
)

// balancesOf are balances of an account, n milliseconds after t0: currencies with
// what is free.
func balancesOf(a fulloncache.Account, n int, pairs ...string) fulloncache.AccountBalances {
	all := fulloncache.AccountBalances{Account: a, Time: at(n)}
	for i := 0; i < len(pairs); i += 2 {
		all.Balances = append(all.Balances, fulloncache.Balance{Currency: pairs[i], Free: dec(pairs[i+1])})
	}
	return all
}

func wantBalances(t testing.TB, got fulloncache.AccountBalances, err error, want fulloncache.AccountBalances) {
	t.Helper()
	want.Balances = slices.Clone(want.Balances)
	for i := range want.Balances {
		want.Balances[i].Time = want.Time
	}
	if err != nil || got.Account != want.Account || !got.Time.Equal(want.Time) ||
		!slices.EqualFunc(got.Balances, want.Balances, fulloncache.Balance.Equal) {
		t.Fatalf("got %+v, %v\nwant %+v", got, err, want)
	}
}

func TestSetAccount(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		reader := s.open()
		_, err := reader.Accounts.Account(s.ctx, desk)
		wantErr(s, err, fulloncache.ErrNotFound, "user 123 at kraken")
		_, err = reader.Accounts.Balance(s.ctx, desk, "USD")
		wantErr(s, err, fulloncache.ErrNotFound, "user 123 at kraken")
		wantErr(s, c.Accounts.Touch(s.ctx, desk, at(0)), fulloncache.ErrNotFound, "kraken")
		wantErr(s, c.Accounts.DeleteAccount(s.ctx, desk), fulloncache.ErrNotFound, "kraken")

		all := balancesOf(desk, 5, "BTC", "0.0000000000000000001", "USD", "12345678901234567890.5", "odd \"name\"\n:{}", "1")
		all.Balances[1].Used = dec("0.25")
		must(s, c.Accounts.SetAccount(s.ctx, all))
		got, err := reader.Accounts.Account(s.ctx, desk)
		wantBalances(s, got, err, all)
		if total := got.Balance("USD").Total(); !total.Equal(dec("12345678901234567890.75")) {
			s.Errorf("total %s", total)
		}
		usd, err := reader.Accounts.Balance(s.ctx, desk, "USD")
		if err != nil || !usd.Equal(got.Balances[1]) {
			s.Fatalf("got %+v, %v", usd, err)
		}
		// What is not among them is 0, as of then: they are all.
		eur, err := reader.Accounts.Balance(s.ctx, desk, "EUR")
		if err != nil || !eur.Equal(fulloncache.Balance{Currency: "EUR", Time: at(5)}) || !eur.Equal(got.Balance("EUR")) {
			s.Fatalf("got %+v, %v", eur, err)
		}
		_, err = reader.Accounts.Balance(s.ctx, desk2, "USD")
		wantErr(s, err, fulloncache.ErrNotFound)

		wantErr(s, c.Accounts.SetAccount(s.ctx, balancesOf(desk, 4, "USD", "1")), fulloncache.ErrOutdated, at(5).UTC().Format("15:04:05.000"))
		wantErr(s, c.Accounts.Touch(s.ctx, desk, at(4)), fulloncache.ErrOutdated)
		must(s, c.Accounts.Touch(s.ctx, desk, at(7)))
		all.Time = at(7)
		got, err = reader.Accounts.Account(s.ctx, desk)
		wantBalances(s, got, err, all)
		wantErr(s, c.Accounts.SetAccount(s.ctx, balancesOf(desk, 6, "USD", "1")), fulloncache.ErrOutdated)
		// One of the same time replaces all of it.
		less := balancesOf(desk, 7, "USD", "1")
		must(s, c.Accounts.SetAccount(s.ctx, less))
		got, err = reader.Accounts.Account(s.ctx, desk)
		wantBalances(s, got, err, less)
		must(s, c.Accounts.SetAccount(s.ctx, balancesOf(desk, 8)))
		got, err = reader.Accounts.Account(s.ctx, desk)
		wantBalances(s, got, err, balancesOf(desk, 8))

		must(s, c.Accounts.DeleteAccount(s.ctx, desk))
		_, err = reader.Accounts.Account(s.ctx, desk)
		wantErr(s, err, fulloncache.ErrNotFound)
	})
}

// What is wrong is named by element and field, and nothing is stored.
func TestSetAccountRefusesInput(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		good := balancesOf(desk, 0, "USD", "1")
		must(s, c.Accounts.SetAccount(s.ctx, good))
		bad := balancesOf(desk, 1, "A", "1", "B", "-1", "C", "1", "", "1", "A", "1", "\xff", "1", "D", "99999999999999999999999999999999999999")
		bad.Balances[2].Used = dec("-0.0000000001")
		bad.Balances[6].Free = bad.Balances[6].Free.Add(dec("1"))
		err := c.Accounts.SetAccount(s.ctx, bad)
		wantErr(s, err, fulloncache.ErrInvalid)
		var batch *fulloncache.BatchError
		if !errors.As(err, &batch) || len(batch.Errs) != len(bad.Balances) || batch.Errs[0] != nil {
			s.Fatalf("got %v", err)
		}
		for i, names := range [][]string{{}, {"B", "free", "-1"}, {"C", "used"}, {"currency"}, {"A", "currency", "twice"}, {"currency"}, {"D", "free", "digits"}} {
			if i > 0 {
				wantErr(s, batch.Errs[i], fulloncache.ErrInvalid, append(names, fmt.Sprintf("element %d", i))...)
			}
		}
		for _, edit := range []func(*fulloncache.AccountBalances){
			func(a *fulloncache.AccountBalances) { a.UserID = 0 },
			func(a *fulloncache.AccountBalances) { a.Exchange = "" },
			func(a *fulloncache.AccountBalances) { a.Time = time.Time{} },
			func(a *fulloncache.AccountBalances) { a.Time = time.Now().Add(time.Hour) },
		} {
			a := balancesOf(desk, 1, "USD", "2")
			edit(&a)
			wantErr(s, c.Accounts.SetAccount(s.ctx, a), fulloncache.ErrInvalid)
			wantErr(s, c.Accounts.Touch(s.ctx, a.Account, a.Time), fulloncache.ErrInvalid)
		}
		_, err = c.Accounts.Account(s.ctx, fulloncache.Account{})
		wantErr(s, err, fulloncache.ErrInvalid)
		_, err = c.Accounts.Balance(s.ctx, fulloncache.Account{}, "USD")
		wantErr(s, err, fulloncache.ErrInvalid)
		_, err = c.Accounts.Balance(s.ctx, desk, "")
		wantErr(s, err, fulloncache.ErrInvalid, "currency")
		wantErr(s, c.Accounts.DeleteAccount(s.ctx, fulloncache.Account{}), fulloncache.ErrInvalid)
		got, err := c.Accounts.Account(s.ctx, desk)
		wantBalances(s, got, err, good)
	})
}

func listBalances(list iter.Seq2[fulloncache.AccountBalances, error]) (all []fulloncache.AccountBalances, errs []error) {
	for a, err := range list {
		all, errs = append(all, a), append(errs, err)
	}
	return all, errs
}

func TestAccounts(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		reader := s.open()
		if all, _ := listBalances(reader.Accounts.Accounts(s.ctx)); len(all) != 0 {
			s.Fatalf("got %+v", all)
		}
		odd := fulloncache.Account{UserID: 123, Exchange: "a:{b}*%\n"}
		want := []fulloncache.AccountBalances{
			balancesOf(other, 1, "USD", "1"), balancesOf(odd, 2, "EUR", "2", "USD", "3"), balancesOf(desk2, 3), balancesOf(desk, 4, "USD", "4"),
		}
		for _, i := range []int{3, 1, 0, 2} {
			must(s, c.Accounts.SetAccount(s.ctx, want[i]))
		}
		check := func() {
			s.Helper()
			all, errs := listBalances(reader.Accounts.Accounts(s.ctx))
			if len(all) != len(want) {
				s.Fatalf("got %+v", all)
			}
			for i := range all {
				wantBalances(s, all[i], errs[i], want[i])
			}
		}
		check()
		must(s, c.Accounts.DeleteAccount(s.ctx, desk2))
		want = slices.Delete(want, 2, 3)
		check()
		for range reader.Accounts.Accounts(s.ctx) {
			break // and it stops
		}
		for range reader.Accounts.AllPositions(s.ctx) {
			s.Fatal("there is no position")
		}
	})
}
