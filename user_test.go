package fulloncache_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
)

func fullUser() fulloncache.User {
	return fulloncache.User{
		ID: 2, Mail: "ann@example.com", Password: fulloncache.NewSecret("hunter2"), F2A: fulloncache.NewSecret("JBSWY3DP"), Role: "admin",
		Name: "Ann", LastName: "Lee", Phone: "+1 555", IDNum: "X-1", Note: "n", ManagerID: 1, Active: true, Created: t0,
	}
}

func TestUserValidate(t *testing.T) {
	t.Parallel()
	type user = fulloncache.User
	wantValid(t, fullUser,
		func(u *user) { *u = user{Mail: "a"} },
		func(u *user) { u.Mail = strings.Repeat("x", mostName) },
		func(u *user) {
			u.Mail, u.Role, u.Name, u.LastName, u.Phone, u.IDNum, u.Note = odd, odd, odd, odd, odd, odd, odd
		},
		func(u *user) { u.Password, u.F2A = fulloncache.NewSecret(odd), fulloncache.NewSecret(odd) },
		func(u *user) { u.Note = strings.Repeat("x", 10_000) },
		func(u *user) { u.ID, u.ManagerID = math.MaxInt64, math.MaxInt64 },
	)
	const who = "user 2 ann@example.com: "
	wantInvalid(t, fullUser, slices.Concat(
		wrongID("uid", 0, func(u *user) *int64 { return &u.ID }),
		wrongID("manager", 0, func(u *user) *int64 { return &u.ManagerID }),
		wrongName("mail", func(u *user) *string { return &u.Mail }),
		wrongText(who+"role", func(u *user) *string { return &u.Role }),
		wrongText(who+"name", func(u *user) *string { return &u.Name }),
		wrongText(who+"lastname", func(u *user) *string { return &u.LastName }),
		wrongText(who+"phone", func(u *user) *string { return &u.Phone }),
		wrongText(who+"id_num", func(u *user) *string { return &u.IDNum }),
		wrongText(who+"note", func(u *user) *string { return &u.Note }),
	))
	for what, spoil := range map[string]func(u *user, s fulloncache.Secret){
		"password": func(u *user, s fulloncache.Secret) { u.Password = s },
		"f2a":      func(u *user, s fulloncache.Secret) { u.F2A = s },
	} {
		for _, bad := range []string{"hunter3\xff", "hunter3\x00"} {
			u := fullUser()
			spoil(&u, fulloncache.NewSecret(bad))
			err := u.Validate()
			wantErr(t, err, fulloncache.ErrInvalid, who+what+" ***", "UTF-8")
			if strings.Contains(err.Error(), "hunter3") {
				t.Errorf("the error tells the secret: %s", err)
			}
		}
	}
}

func TestUserEqual(t *testing.T) {
	t.Parallel()
	wantEqual(t, fullUser())
}

func TestUserJSON(t *testing.T) {
	t.Parallel()
	wantRoundTrip(t, fulloncache.User.Equal, "Password", "F2A")
	u := fullUser()
	u.Created = time.Date(2024, 2, 29, 23, 59, 59, 1000, time.UTC)
	wantJSON(t, u, `{"uid":2,"mail":"ann@example.com","role":"admin","name":"Ann","lastname":"Lee","phone":"+1 555","id_num":"X-1","note":"n",`+
		`"manager":1,"active":true,"timestamp":"2024-02-29T23:59:59.000001Z"}`)
	wantJSON(t, fulloncache.User{Mail: "a"}, `{"mail":"a","role":"","name":"","lastname":"","active":false}`)
	wantJSON(t, []fulloncache.Secret{u.Password, {}}, `[{},{}]`)
	// Nor is it read: what comes from outside sets no password.
	var in fulloncache.User
	must(t, json.Unmarshal([]byte(`{"mail":"a","Password":"x","F2A":"x","password":"x","f2a":"x"}`), &in))
	if !in.Equal(fulloncache.User{Mail: "a"}) {
		t.Errorf("JSON sets secrets: %q, %q", in.Password.Reveal(), in.F2A.Reveal())
	}
}

func TestUserString(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		user fulloncache.User
		want string
	}{
		{fullUser(), "user 2 ann@example.com"},
		{fulloncache.User{Mail: "a\nb"}, `user 0 "a\nb"`},
	} {
		if got := c.user.String(); got != c.want || c.user.GoString() != c.want || fmt.Sprintf("%v", c.user) != c.want || fmt.Sprintf("%#v", &c.user) != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

func TestSecret(t *testing.T) {
	t.Parallel()
	var none fulloncache.Secret
	a, b, c := fulloncache.NewSecret("hunter2"), fulloncache.NewSecret(strings.Join([]string{"hunter", "2"}, "")), fulloncache.NewSecret("other")
	if a != b || a == c || a == none || fulloncache.NewSecret("") != none {
		t.Error("secrets are not == as their texts are")
	}
	if a.Reveal() != "hunter2" || none.Reveal() != "" {
		t.Errorf("revealed %q and %q", a.Reveal(), none.Reveal())
	}
	if got := fmt.Sprintf("%s %v %+v %#v [%s]", a, a, a, a, none); got != "*** *** *** *** []" {
		t.Errorf("printed %s", got)
	}
}

// Wherever a user stands, whatever the verb and its flags: no secret is printed.
// fmt calls no method for %p and %w, nor of what is in unexported fields.
func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	u := fullUser()
	// Printed without its methods, a local time shows time.Local, which another test
	// may be the first to use: a race.
	u.Created = u.Created.UTC()
	type open struct{ User fulloncache.User }
	type hidden struct{ user fulloncache.User }
	type embedded struct{ fulloncache.User }
	values := map[string]any{
		"a user": u, "a pointer": &u, "a slice": []fulloncache.User{u}, "an array": [1]fulloncache.User{u},
		"a slice of pointers": []*fulloncache.User{&u}, "a map": map[string]fulloncache.User{"x": u}, "a key": map[fulloncache.User]int{u: 1},
		"a field": open{u}, "a hidden field": hidden{u}, "an embedded one": embedded{u}, "a pointer to a hidden field": &hidden{u},
		"a slice of hidden fields": []hidden{{u}}, "a hidden slice": struct{ users []fulloncache.User }{[]fulloncache.User{u}},
		"a hidden pointer": struct{ user *fulloncache.User }{&u}, "any": []any{u, &u}, "a hidden any": struct{ user any }{u},
		"a secret": u.Password, "a pointer to a secret": &u.F2A, "hidden secrets": struct{ p, q any }{u.Password, &u.F2A},
		"a slice of secrets": []fulloncache.Secret{u.Password, u.F2A},
	}
	var secrets []string
	for _, s := range []string{"hunter2", "JBSWY3DP"} {
		secrets = append(secrets, s, fmt.Sprintf("%x", s), fmt.Sprintf("%X", s), fmt.Sprintf("% x", s), fmt.Sprintf("%v", []byte(s)))
	}
	check := func(how, text string) {
		for _, s := range secrets {
			if strings.Contains(text, s) {
				t.Errorf("%s prints %q: %s", how, s, text)
			}
		}
	}
	for what, v := range values {
		for _, flags := range []string{"", "+", "#", " ", "-", "0", "200", "+#"} {
			for verb := 'A'; verb <= 'z'; verb++ {
				check(what+" by %"+flags+string(verb), fmt.Sprintf("%"+flags+string(verb), v))
			}
		}
		for _, format := range []string{"", "%w", "%", "%[2]v", "%*d"} { // one value too many, no error, malformed
			check(what+" by "+format, fmt.Errorf(format, v).Error())
		}
		check(what+" by Print", fmt.Sprint(v)+fmt.Sprintln(v))
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "value", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "value", v)
		check(what+" in a log", log.String())
		if text, err := json.Marshal(v); err == nil {
			check(what+" in JSON", string(text))
		}
	}
}
