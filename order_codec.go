package fulloncache

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// storedOrder is an order as the cache holds it.
type storedOrder struct {
	Order
	rev int64
}

// given lists the fields of the order that are there, as Redis holds them: name,
// value and so on. Those about which the script order_write decides are left
// out: it gets them by themselves.
func (o *Order) given() []string {
	list := make([]string, 0, 40)
	text := func(name, value string) {
		if value != "" {
			list = append(list, name, value)
		}
	}
	text("exchange", o.Exchange)
	text("symbol", o.Symbol)
	text("order_id", o.ID)
	for _, id := range o.ids() {
		if *id.value != 0 {
			text(id.name, strconv.FormatInt(*id.value, 10))
		}
	}
	text("order_type", o.Type)
	text("side", string(o.Side))
	if !o.Volume.IsZero() {
		text("volume", o.Volume.String())
	}
	for _, n := range o.numbers() {
		if n.name != "final_volume" {
			text(n.name, n.value.String())
		}
	}
	if o.Futures {
		text("futures", "true")
	}
	text("command", o.Command)
	text("reason", o.Reason)
	return list
}

// parseOrder reads the fields of an order, as Redis holds them. Fields that it
// does not know are those of a later version.
func parseOrder(key string, fields map[string]string) (s storedOrder, err error) {
	corrupt := func(name string, err error) (storedOrder, error) {
		return storedOrder{}, &CorruptError{Key: key, Field: name, Err: err}
	}
	for _, f := range s.texts() {
		*f.value = fields[f.name]
	}
	for _, id := range append(s.ids(), number{"rev", &s.rev}) {
		text, ok := fields[id.name]
		if !ok && id.value != &s.rev {
			continue
		}
		if *id.value, err = strconv.ParseInt(text, 10, 64); err != nil {
			return corrupt(id.name, err)
		}
	}
	volume := NullDecimal{}
	for _, n := range append(s.numbers(), field{"volume", &volume}) {
		if text, ok := fields[n.name]; ok {
			if n.value.Decimal, err = ParseDecimal(text); err != nil {
				return corrupt(n.name, err)
			}
			n.value.Valid = true
		}
	}
	s.Volume = volume.Decimal
	if futures, ok := fields["futures"]; ok {
		if s.Futures = futures == "true"; !s.Futures {
			return corrupt("futures", fmt.Errorf("%s: want true, or no such field", excerpt(futures)))
		}
	}
	for _, at := range []struct {
		name  string
		value *time.Time
	}{{"time", &s.Time}, {"cached", &s.Cached}} {
		if *at.value, err = parseTime(fields[at.name]); err != nil {
			return corrupt(at.name, err)
		}
	}
	// What Save refuses cannot have been stored by it: never let it look right.
	if name, err := s.invalid(); err != nil {
		return corrupt(name, err)
	}
	return s, nil
}

// encode writes the order as a queue holds it: a line of JSON.
func (o *Order) encode() string {
	j := jsonObject{b: make([]byte, 0, 384)}
	for _, t := range o.texts() {
		j.text(t.name, *t.value, false)
	}
	for _, id := range o.ids() {
		j.whole(id.name, *id.value, false)
	}
	j.decimal("volume", Some(o.Volume))
	for _, n := range o.numbers() {
		j.decimal(n.name, *n.value)
	}
	j.flag("futures", o.Futures)
	j.text("time", formatTime(o.Time), true)
	return j.String()
}

// decodeOrder reads what encode writes, and any other JSON of the same. Its errors
// name the field where one is to blame.
func decodeOrder(text string) (o Order, err error) {
	if err := o.decode(text); err != nil {
		return Order{}, err
	}
	return o, nil
}

func (o *Order) decode(text string) error {
	if !o.quick(text) {
		*o = Order{}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal([]byte(text), &fields); err != nil {
			return err
		}
		for name, value := range fields {
			if to := o.field(name); to != nil {
				if err := json.Unmarshal(value, to); err != nil {
					return &elementError{name: name, err: err}
				}
			}
		}
	}
	o.Time = o.Time.UTC()
	// What no submit takes was not submitted: never let it look right.
	if name, err := o.invalid(); err != nil {
		return &elementError{name: name, err: err}
	}
	return nil
}

// quick reads what encode writes; it reports false for everything else.
func (o *Order) quick(text string) bool {
	r := jsonReader{s: text}
	for _, t := range o.texts() {
		*t.value = r.text(t.name)
	}
	for _, id := range o.ids() {
		*id.value = r.whole(id.name)
	}
	o.Volume = r.decimal("volume").Decimal
	for _, n := range o.numbers() {
		*n.value = r.decimal(n.name)
	}
	o.Futures = r.flag("futures")
	var err error
	o.Time, err = parseTime(r.text("time"))
	return err == nil && r.done()
}

// field returns where a field of a name is kept; nil if there is none.
func (o *Order) field(name string) any {
	for _, t := range o.texts() {
		if t.name == name {
			return t.value
		}
	}
	for _, id := range o.ids() {
		if id.name == name {
			return id.value
		}
	}
	for _, n := range o.numbers() {
		if n.name == name {
			return n.value
		}
	}
	switch name {
	case "volume":
		return &o.Volume
	case "futures":
		return &o.Futures
	case "time":
		return &o.Time
	}
	return nil
}

// Messages on the channels of orders, as the scripts write them:
//
//	O rev fields
//	D rev n exchange+id
//	R rev
//
// Of the fields, each name and value stands behind its length in bytes and a
// colon; n is the length of the exchange.
const messageOrder = "O"

// orderMessage is a decoded message.
type orderMessage struct {
	kind  string
	order storedOrder // of a deletion, only exchange, id and rev
}

// readOrderMessage decodes a message; channel names it in errors.
func readOrderMessage(channel, message string) (m orderMessage, err error) {
	corrupt := func(what string) (orderMessage, error) {
		return orderMessage{}, &CorruptError{Key: channel, Err: fmt.Errorf("message %s: %s", excerpt(message), what)}
	}
	rest := message
	word := func() (w string) {
		w, rest, _ = strings.Cut(rest, " ")
		return w
	}
	m.kind = word()
	if m.kind == messageReset {
		return m, nil
	}
	if m.kind != messageOrder && m.kind != messageDeleted {
		return corrupt("unknown kind")
	}
	rev, err := strconv.ParseInt(word(), 10, 64)
	if err != nil {
		return corrupt("no revision")
	}
	if m.kind == messageDeleted {
		n, err := strconv.Atoi(word())
		if err != nil || n < 0 || n > len(rest) {
			return corrupt("no names")
		}
		m.order.rev, m.order.Exchange, m.order.ID = rev, rest[:n], rest[n:]
		return m, nil
	}
	fields, err := countedFields(rest)
	if err != nil {
		return corrupt(err.Error())
	}
	if m.order, err = parseOrder(channel, fields); err == nil && m.order.rev != rev {
		return corrupt("two revisions")
	}
	return m, err
}

var errCounted = errors.New("want lengths, colons and texts")

// countedFields reads names and values as scripts write them into messages.
func countedFields(s string) (map[string]string, error) {
	fields := make(map[string]string)
	for s != "" {
		var name, value string
		var err error
		if name, s, err = counted(s); err == nil {
			value, s, err = counted(s)
		}
		if err != nil {
			return nil, err
		}
		fields[name] = value
	}
	return fields, nil
}

// counted cuts a text that stands behind its length and a colon off s.
func counted(s string) (text, rest string, err error) {
	length, after, _ := strings.Cut(s, ":")
	n, err := strconv.Atoi(length)
	if err != nil || n < 0 || n > len(after) {
		return "", "", errCounted
	}
	return after[:n], after[n:], nil
}
