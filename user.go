package fulloncache

import (
	"fmt"
	"time"
	intern "unique"
)

// Secret is a text that shows in no log: whatever the verb of fmt, and wherever
// the value stands, what is printed is not the text. Nor is it put into JSON.
// Equal secrets are ==; the zero value is the empty text.
type Secret struct {
	// fmt calls no method of what is in an unexported field, nor for a verb that
	// does not fit; it prints what it finds there, but follows no pointer. A handle
	// is one.
	text intern.Handle[string]
}

// NewSecret returns the text as a Secret.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{intern.Make(text)}
}

// Reveal returns the text.
func (s Secret) Reveal() string {
	if s == (Secret{}) {
		return ""
	}
	return s.text.Value()
}

// String tells only whether there is a text.
func (s Secret) String() string {
	if s == (Secret{}) {
		return ""
	}
	return "***"
}

// GoString is String.
func (s Secret) GoString() string { return s.String() }

// User is somebody who trades, or looks after those who do.
type User struct {
	ID   int64  `json:"uid,omitzero"` // ID is the database's id, 0 before it is stored.
	Mail string `json:"mail"`         // Mail is unique.
	// Password is the hash of the password, F2A the secret of the second factor.
	// Neither is ever printed or put into JSON.
	Password  Secret `json:"-"`
	F2A       Secret `json:"-"`
	Role      string `json:"role"`
	Name      string `json:"name"`
	LastName  string `json:"lastname"`
	Phone     string `json:"phone,omitempty"`
	IDNum     string `json:"id_num,omitempty"` // IDNum is the number of an identity document.
	Note      string `json:"note,omitempty"`
	ManagerID int64  `json:"manager,omitzero"` // ManagerID is the user who looks after this one, 0 if nobody.
	Active    bool   `json:"active"`
	// Created is when the user was stored first, to the microsecond. The store
	// fills it.
	Created time.Time `json:"timestamp,omitzero"`
}

// String names the user, without secrets.
func (u User) String() string { return fmt.Sprintf("user %d %s", u.ID, printable(u.Mail)) }

// GoString is String: a secret must not get into a log by way of %#v.
func (u User) GoString() string { return u.String() }

// Validate returns [ErrInvalid], naming the field, unless the user can be stored:
// a mail address and texts that the database can hold.
func (u User) Validate() error {
	if err := validID("uid", u.ID, 0); err != nil {
		return err
	}
	if err := validID("manager", u.ManagerID, 0); err != nil {
		return err
	}
	if err := storedName("mail", u.Mail); err != nil {
		return err
	}
	what := u.String()
	for _, text := range []struct{ field, value string }{
		{"role", u.Role}, {"name", u.Name}, {"lastname", u.LastName}, {"phone", u.Phone}, {"id_num", u.IDNum}, {"note", u.Note},
	} {
		if err := validText(what, text.field, text.value); err != nil {
			return err
		}
	}
	for _, secret := range []struct {
		field string
		value Secret
	}{{"password", u.Password}, {"f2a", u.F2A}} {
		if !storable(secret.value.Reveal()) {
			return fmt.Errorf("%w: %s: %s %s: %s", ErrInvalid, what, secret.field, secret.value, wantStorable)
		}
	}
	return nil
}

// Equal reports whether both say the same about the same user.
func (u User) Equal(o User) bool {
	same := u.Created.Equal(o.Created)
	u.Created, o.Created = time.Time{}, time.Time{}
	return same && u == o
}
