package orm_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/orm"
)

// text draws what a database can hold, of at most so many bytes.
func text(least, most int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		s := rapid.OneOf(rapid.String(), rapid.SampledFrom(odd)).Draw(t, "text")
		s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "")
		for len(s) > most {
			_, size := utf8.DecodeLastRuneInString(s)
			s = s[:len(s)-size]
		}
		return s + strings.Repeat("x", max(0, least-len(s)))
	})
}

// amount draws a number that is not negative, up to the bounds of a Decimal, or
// none.
func amount() *rapid.Generator[fulloncache.NullDecimal] {
	return rapid.Custom(func(t *rapid.T) fulloncache.NullDecimal {
		digits := rapid.StringMatching(`[0-9]{1,38}`).Draw(t, "digits")
		places := rapid.IntRange(0, min(len(digits)-1, fulloncache.MaxDecimalPlaces)).Draw(t, "places")
		if rapid.IntRange(0, 9).Draw(t, "absent") == 0 {
			return fulloncache.NullDecimal{}
		}
		return some(digits[:len(digits)-places] + "." + digits[len(digits)-places:] + "0")
	})
}

// newName makes a name no other has.
func newName(name string) string { return fmt.Sprintf("%s%x", name, rand.Uint64()) }

func TestRoundTrip(t *testing.T) {
	both(t, func(s *suite, db *orm.DB) {
		manager, cat := s.addUser(db, "manager@example.com"), s.addCatalogue(db, "kraken")
		check := func(t *rapid.T, stored, read any, same bool, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			if !same {
				t.Fatalf("stored\n%#v\nread\n%#v", stored, read)
			}
		}
		rapid.Check(s.T, func(t *rapid.T) {
			u := fulloncache.User{
				Mail: newName(text(0, 200).Draw(t, "mail")), Password: fulloncache.NewSecret(text(0, 100).Draw(t, "password")),
				F2A: fulloncache.NewSecret(text(0, 100).Draw(t, "f2a")), Role: text(0, 100).Draw(t, "role"), Name: text(0, 100).Draw(t, "name"),
				LastName: text(0, 100).Draw(t, "lastname"), Phone: text(0, 100).Draw(t, "phone"), IDNum: text(0, 100).Draw(t, "id"),
				Note: text(0, 3000).Draw(t, "note"), ManagerID: rapid.SampledFrom([]int64{0, manager.ID}).Draw(t, "manager"),
				Active: rapid.Bool().Draw(t, "active"),
			}
			added, err := db.Users.Add(s.ctx, u)
			u.ID, u.Created = added.ID, added.Created
			check(t, u, added, u.Equal(added), err)
			got, err := db.Users.ByMail(s.ctx, u.Mail)
			check(t, u, got, u.Equal(got), err)
		})
		rapid.Check(s.T, func(t *rapid.T) {
			e := fulloncache.CatExchange{
				Name: newName(text(0, 200).Draw(t, "name")), OHLCVView: text(0, 300).Draw(t, "view"),
				Params: rapid.MapOfN(text(1, 256), text(0, 1000), 0, 5).Draw(t, "params"),
			}
			added, err := db.Exchanges.AddCatalogue(s.ctx, e)
			e.ID = added.ID
			check(t, e, added, e.Equal(added), err)
			got, err := db.Exchanges.CatalogueByName(s.ctx, e.Name)
			check(t, e, got, e.Equal(got), err)
		})
		rapid.Check(s.T, func(t *rapid.T) {
			e := fulloncache.Exchange{
				UserID: manager.ID, CatExchangeID: cat.ID, CatName: "kraken", Name: newName(text(0, 200).Draw(t, "name")),
				Test: rapid.Bool().Draw(t, "test"), Active: rapid.Bool().Draw(t, "active"),
			}
			added, err := db.Exchanges.Add(s.ctx, e)
			e.ID, e.Created = added.ID, added.Created
			check(t, e, added, e.Equal(added), err)
			got, err := db.Exchanges.ByName(s.ctx, manager.ID, e.Name)
			check(t, e, got, e.Equal(got), err)
		})
		rapid.Check(s.T, func(t *rapid.T) {
			y := fulloncache.Symbol{
				Market: fulloncache.Market{Exchange: "kraken", Symbol: newName(text(0, 200).Draw(t, "symbol"))}, CatExchangeID: cat.ID,
				Base: text(1, 256).Draw(t, "base"), Quote: text(0, 256).Draw(t, "quote"), ExBase: text(0, 256).Draw(t, "exbase"),
				Decimals:    rapid.IntRange(0, fulloncache.MaxDecimalPlaces).Draw(t, "decimals"),
				LotDecimals: rapid.IntRange(0, fulloncache.MaxDecimalPlaces).Draw(t, "lot"),
				OrderMin:    amount().Draw(t, "min"), UpdateFrame: text(0, 256).Draw(t, "frame"),
				Backtest: rapid.IntRange(0, 32767).Draw(t, "backtest"),
				Futures:  rapid.Bool().Draw(t, "futures"), OnlyTicker: rapid.Bool().Draw(t, "ticker"),
			}
			added, err := db.Symbols.Add(s.ctx, y)
			y.ID = added.ID
			check(t, y, added, y.Equal(added), err)
			got, err := db.Symbols.One(s.ctx, y.Market)
			check(t, y, got, y.Equal(got), err)
			n, err := db.Symbols.Upsert(s.ctx, []fulloncache.Symbol{y})
			check(t, y, n, n == fulloncache.Upserted{}, err)
		})
	})
}

// The ends of what a Decimal holds.
func TestRoundTripExtremes(t *testing.T) {
	both(t, func(s *suite, db *orm.DB) {
		s.addCatalogue(db, "kraken")
		for i, text := range []string{
			"0", "0.0000000000000000001", "9999999999999999999.9999999999999999999", "99999999999999999999999999999999999999",
			"10000000000000000000000000000000000000", "0.1", "123456789012345678901234567.89012345678",
		} {
			y := symbolOf("kraken", fmt.Sprint(i))
			y.Base, y.OrderMin = "x", some(text)
			added := s.addSymbols(db, y)[0]
			got, err := db.Symbols.ByID(s.ctx, added.ID)
			must(s, err)
			if got.OrderMin.String() != text || added.OrderMin.String() != text {
				s.Errorf("%s became %s, %s", text, added.OrderMin, got.OrderMin)
			}
		}
	})
}
