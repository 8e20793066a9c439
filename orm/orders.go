package orm

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/fullon/fulloncache"
)

// OrderRepository is the record of orders. An order is known by its exchange and
// its own ID; a row of an older program, which has none, by its number there, as
// text.
//
// The errors of all methods: [fulloncache.ErrInvalid] for unusable input,
// [fulloncache.ErrNotFound], [fulloncache.ErrDuplicate],
// [fulloncache.ErrForeignKey] for a bot, user or account that does not exist, the
// context's error, and [fulloncache.ErrUnavailable] if the database cannot answer.
// A method that returns an error has changed nothing.
type OrderRepository struct{ conn *conn }

// OrderFilter says which orders are meant: those that fit every field that is
// set.
type OrderFilter struct {
	BotID, UserID, ExchangeID int64
	Exchange, Symbol          string
	// Statuses are compared by their meaning: "canceled" finds "Cancel" too.
	Statuses []fulloncache.OrderStatus
	// From is the least time, To is the first one that is too late.
	From, To time.Time
	// Newest turns the order of the result: the latest time first.
	Newest bool
	// Limit bounds the result; it defaults to [DefaultLimit].
	Limit int
	// After continues behind the last order of the page before.
	After Cursor
}

type orderRow struct {
	bun.BaseModel `bun:"table:orders,alias:o"`

	OrderID       int64   `bun:"order_id,pk,autoincrement"`
	ClientOrderID string  `bun:"client_order_id,nullzero"`
	BotID         int64   `bun:"bot_id"`
	UserID        int64   `bun:"uid"`
	ExchangeID    int64   `bun:"ex_id"`
	ExOrderID     string  `bun:"ex_order_id,nullzero"`
	CatExchangeID int64   `bun:"cat_ex_id"`
	Exchange      string  `bun:"exchange"`
	Symbol        string  `bun:"symbol"`
	Type          string  `bun:"order_type"`
	Side          string  `bun:"side"`
	Volume        number  `bun:"volume"`
	FinalVolume   number  `bun:"final_volume"`
	Price         number  `bun:"price"`
	PLimit        number  `bun:"plimit"`
	Tick          number  `bun:"tick"`
	Leverage      number  `bun:"leverage"`
	Futures       bool    `bun:"futures"`
	Status        string  `bun:"status"`
	Command       string  `bun:"command,nullzero"`
	Reason        string  `bun:"reason"`
	Time          instant `bun:"timestamp"`
	Nanos         int     `bun:"timestamp_nanos"`
}

// orderChanges are the columns that a later message about an order may change.
var orderChanges = []string{
	"bot_id", "uid", "ex_id", "cat_ex_id", "ex_order_id", "volume", "final_volume", "price", "plimit", "tick", "leverage", "status", "command", "reason",
}

// Add stores a new order and returns its row, with its RecordID; a RecordID that
// is given is not looked at. It returns [fulloncache.ErrDuplicate] if the exchange
// has an order of that ID.
func (r *OrderRepository) Add(ctx context.Context, o fulloncache.Order) (fulloncache.Order, error) {
	stored, err := r.AddAll(ctx, []fulloncache.Order{o})
	if err != nil {
		return fulloncache.Order{}, err
	}
	return stored[0], nil
}

// AddAll stores new orders, all or none, and returns their rows in the order
// given. It returns [fulloncache.ErrDuplicate] if one of them exists, or comes
// twice. A statement holds at most 1000 rows; all are in one transaction.
func (r *OrderRepository) AddAll(ctx context.Context, orders []fulloncache.Order) ([]fulloncache.Order, error) {
	return r.store(ctx, orders, func(old, o fulloncache.Order) (fulloncache.Order, error) {
		return old, fmt.Errorf("%s: %w", keyOf(o), fulloncache.ErrDuplicate)
	})
}

// Save stores an order or, if the exchange has one of its ID, what is new about
// it, and returns the row as it is then. It may be repeated: it is the sink of a
// queue that delivers at least once, and not always in order.
//
//   - A final order stays as it is, but for ids that it lacked and a filled volume
//     that grew.
//   - What is of an earlier step than the row (new, pending, then open or filled
//     in part, then final) changes no more than that either.
//   - Else the row takes status, volume and what the message has of ex_order_id,
//     prices, leverage, command and reason: of two messages of the same step the
//     later one counts. The filled volume never shrinks; type, time and futures
//     stay as they were first.
//   - An order that differs in bot, user, account, symbol or side is another one
//     that took the same ID: [fulloncache.ErrDuplicate]. Ids that are 0 say
//     nothing, and are filled in when they are told.
//
// Writers at the same time wait for each other; nothing that one of them wrote is
// lost.
func (r *OrderRepository) Save(ctx context.Context, o fulloncache.Order) (fulloncache.Order, error) {
	stored, err := r.SaveAll(ctx, []fulloncache.Order{o})
	if err != nil {
		return fulloncache.Order{}, err
	}
	return stored[0], nil
}

// SaveAll is [OrderRepository.Save] of many orders, all or none, and returns
// their rows in the order given. One that comes more than once is saved as if one
// after the other. A statement holds at most 1000 rows; all are in one
// transaction.
func (r *OrderRepository) SaveAll(ctx context.Context, orders []fulloncache.Order) ([]fulloncache.Order, error) {
	return r.store(ctx, orders, savedOver)
}

// orderKey is what an order is known by.
type orderKey struct{ exchange, id string }

// String names the order.
func (k orderKey) String() string {
	return "order " + printable(k.exchange) + " " + printable(k.id)
}

func keyOf(o fulloncache.Order) orderKey { return orderKey{o.Exchange, o.ID} }

// number is the number of the row that the key means if that row has no id.
func (k orderKey) number() (int64, bool) {
	n, err := strconv.ParseInt(k.id, 10, 64)
	return n, err == nil && n > 0 && strconv.FormatInt(n, 10) == k.id
}

// merge is what becomes of a stored order when another of its ID comes.
type merge func(old, o fulloncache.Order) (fulloncache.Order, error)

// messages are what is said about one order, one after the other.
type messages []fulloncache.Order

// over returns what becomes of a stored order.
func (m messages) over(old fulloncache.Order, merge merge) (now fulloncache.Order, err error) {
	now = old
	for _, o := range m {
		if now, err = merge(now, o); err != nil {
			return old, err
		}
	}
	return now, nil
}

func (r *OrderRepository) store(ctx context.Context, orders []fulloncache.Order, merge merge) ([]fulloncache.Order, error) {
	// By id, so that a statement meets no row twice.
	want := map[orderKey]messages{}
	for i, o := range orders {
		if err := o.Validate(); err != nil {
			return nil, fmt.Errorf("order %d of %d: %w", i+1, len(orders), err)
		}
		want[keyOf(o)] = append(want[keyOf(o)], o)
	}
	// Writers that add the same orders do it in the same order, or each would wait
	// for the other.
	keys := slices.SortedFunc(maps.Keys(want), func(a, b orderKey) int {
		return cmp.Or(cmp.Compare(a.exchange, b.exchange), cmp.Compare(a.id, b.id))
	})
	var have map[orderKey]fulloncache.Order
	err := r.conn.atomically(ctx, "store orders", func(c *conn) (err error) {
		have, err = r.storeKeys(ctx, c, keys, want, merge)
		return err
	})
	if err != nil {
		return nil, err
	}
	stored := make([]fulloncache.Order, len(orders))
	for i, o := range orders {
		stored[i] = have[keyOf(o)]
	}
	return stored, nil
}

// storeKeys stores the orders that are wanted and returns what the rows are then.
func (r *OrderRepository) storeKeys(ctx context.Context, c *conn, keys []orderKey, want map[orderKey]messages, merge merge) (map[orderKey]fulloncache.Order, error) {
	have := make(map[orderKey]fulloncache.Order, len(keys))
	var changed []orderRow
	// There is more than one round only if another program adds one of the orders in
	// between.
	for missing := keys; len(missing) > 0; {
		found, err := r.lock(ctx, c, missing)
		if err != nil {
			return nil, err
		}
		for key, old := range found {
			have[key], err = want[key].over(old, merge)
			if err != nil {
				return nil, err
			}
			if !have[key].Equal(old) {
				changed = append(changed, newOrderRow(have[key]))
			}
		}
		for chunk := range slices.Chunk(without(missing, have), maxRows) {
			if err := r.insert(ctx, c, chunk, want, have, merge); err != nil {
				return nil, err
			}
		}
		missing = without(missing, have)
	}
	for chunk := range slices.Chunk(changed, maxRows) {
		if err := r.update(ctx, c, chunk); err != nil {
			return nil, err
		}
	}
	return have, nil
}

// takeTurns waits until no other writer stores one of the orders, and lets none
// until the transaction ends. Rows alone would not do: who adds an order and waits
// for a row would wait for who has the row and waits for the order that is added.
// Orders share a bounded number of turns, so that any number of them can be stored.
func takeTurns(ctx context.Context, c *conn, keys []orderKey) error {
	if !c.postgres { // in SQLite the transaction is alone
		return nil
	}
	const class, turns = 0x6f72, 64
	var wanted []int
	for _, key := range keys {
		h := fnv.New32a()
		_, _ = io.WriteString(h, key.exchange+"\x00"+key.id) // a hash takes everything
		wanted = append(wanted, int(h.Sum32()%turns))
	}
	// All take them in the same order.
	slices.Sort(wanted)
	_, err := c.q.NewRaw("SELECT pg_advisory_xact_lock(?, n) FROM unnest(ARRAY[?]::int[]) AS n", class, bun.List(slices.Compact(wanted))).Exec(ctx)
	return err
}

func without(keys []orderKey, have map[orderKey]fulloncache.Order) []orderKey {
	return slices.DeleteFunc(slices.Clone(keys), func(key orderKey) bool {
		_, ok := have[key]
		return ok
	})
}

// insert adds orders whose ids are free, and puts the rows that it added into
// have.
func (r *OrderRepository) insert(ctx context.Context, c *conn, keys []orderKey, want map[orderKey]messages, have map[orderKey]fulloncache.Order, merge merge) error {
	rows := make([]orderRow, len(keys))
	for i, key := range keys {
		o, err := want[key][1:].over(want[key][0], merge)
		if err != nil {
			return err
		}
		rows[i] = newOrderRow(o)
		rows[i].OrderID, rows[i].ClientOrderID = 0, key.id
	}
	var added []orderRow
	err := c.q.NewInsert().Model(&rows).On("CONFLICT DO NOTHING").Returning("*").Scan(ctx, &added)
	if err != nil {
		return c.fail(ctx, "store orders", err)
	}
	for i := range added {
		o := added[i].order()
		have[keyOf(o)] = o
	}
	return nil
}

// update writes what changed of locked rows, in one statement: as an insert that
// always meets its row, whose columns give the values their types.
func (r *OrderRepository) update(ctx context.Context, c *conn, rows []orderRow) error {
	q := c.q.NewInsert().Model(&rows).On("CONFLICT (order_id) DO UPDATE").Returning("NULL")
	for _, column := range orderChanges {
		q.Set("? = EXCLUDED.?", bun.Ident(column), bun.Ident(column))
	}
	if _, err := q.Exec(ctx); err != nil {
		return c.fail(ctx, "update orders", err)
	}
	return nil
}

// lock returns the stored orders of the keys; nobody else changes them until the
// transaction ends.
func (r *OrderRepository) lock(ctx context.Context, c *conn, keys []orderKey) (map[orderKey]fulloncache.Order, error) {
	var rows []orderRow
	q := c.q.NewSelect().Model(&rows).OrderExpr("order_id")
	whereKeys(q, keys)
	if c.postgres { // in SQLite the transaction is alone
		q.For("UPDATE")
	}
	// A transaction that failed to take turns fails to read, too.
	if err := cmp.Or(takeTurns(ctx, c, keys), q.Scan(ctx)); err != nil {
		return nil, c.fail(ctx, "read orders", err)
	}
	found := make(map[orderKey]fulloncache.Order, len(rows))
	for _, row := range rows {
		o := row.order()
		// A row that says the id comes before one that only has the number.
		if _, ok := found[keyOf(o)]; !ok || row.ClientOrderID != "" {
			found[keyOf(o)] = o
		}
	}
	return found, nil
}

// whereKeys restricts a query to the rows of keys.
func whereKeys(q *bun.SelectQuery, keys []orderKey) {
	ids, numbers := map[string][]string{}, map[string][]int64{}
	for _, key := range keys {
		ids[key.exchange] = append(ids[key.exchange], key.id)
		if n, ok := key.number(); ok {
			numbers[key.exchange] = append(numbers[key.exchange], n)
		}
	}
	q.WhereGroup(" AND ", func(q *bun.SelectQuery) *bun.SelectQuery {
		for exchange, ids := range ids {
			q.WhereOr("o.exchange = ? AND o.client_order_id IN (?)", exchange, bun.List(ids))
		}
		for exchange, numbers := range numbers {
			q.WhereOr("o.exchange = ? AND o.client_order_id IS NULL AND o.order_id IN (?)", exchange, bun.List(numbers))
		}
		return q
	})
}

// The steps of an order's way.
const (
	stepUnknown = iota // what a program of old wrote, and nobody knows
	stepNew
	stepPending
	stepOpen
	stepPartial
	stepFinal
)

func step(s fulloncache.OrderStatus) int {
	if s.Final() {
		return stepFinal
	}
	c, _ := s.Canonical()
	return 1 + slices.Index(fulloncache.OpenStatuses(), c)
}

// savedOver is the merge of [OrderRepository.Save].
func savedOver(old, o fulloncache.Order) (fulloncache.Order, error) {
	if err := sameOrder(old, o); err != nil {
		return old, err
	}
	now := old
	if o.FinalVolume.Valid && (!old.FinalVolume.Valid || o.FinalVolume.Decimal.Cmp(old.FinalVolume.Decimal) > 0) {
		now.FinalVolume = o.FinalVolume
	}
	now.ExOrderID = cmp.Or(now.ExOrderID, o.ExOrderID)
	now.BotID, now.UserID = cmp.Or(now.BotID, o.BotID), cmp.Or(now.UserID, o.UserID)
	now.ExchangeID, now.CatExchangeID = cmp.Or(now.ExchangeID, o.ExchangeID), cmp.Or(now.CatExchangeID, o.CatExchangeID)
	from, to := step(old.Status), step(o.Status)
	// Exchanges differ in whether they tell open from partially filled.
	if from == stepFinal || to < min(from, stepOpen) {
		return now, nil
	}
	if to >= from {
		now.Status = o.Status
	}
	now.Volume = o.Volume
	now.ExOrderID = cmp.Or(o.ExOrderID, now.ExOrderID)
	now.Command = cmp.Or(o.Command, now.Command)
	now.Reason = cmp.Or(o.Reason, now.Reason)
	for _, n := range []struct {
		now  *fulloncache.NullDecimal
		said fulloncache.NullDecimal
	}{{&now.Price, o.Price}, {&now.PLimit, o.PLimit}, {&now.Tick, o.Tick}, {&now.Leverage, o.Leverage}} {
		if n.said.Valid {
			*n.now = n.said
		}
	}
	return now, nil
}

// sameOrder refuses an order that is not the stored one.
func sameOrder(old, o fulloncache.Order) error {
	differ := ""
	switch {
	case old.Symbol != o.Symbol:
		differ = "symbol"
	case old.Side != o.Side:
		differ = "side"
	case differentIDs(old.BotID, o.BotID):
		differ = "bot_id"
	case differentIDs(old.UserID, o.UserID):
		differ = "uid"
	case differentIDs(old.ExchangeID, o.ExchangeID):
		differ = "ex_id"
	case differentIDs(old.CatExchangeID, o.CatExchangeID):
		differ = "cat_ex_id"
	default:
		return nil
	}
	return fmt.Errorf("%s: %w: record %d has another %s", keyOf(o), fulloncache.ErrDuplicate, old.RecordID, differ)
}

func differentIDs(a, b int64) bool { return a != 0 && b != 0 && a != b }

// ByID returns the order that the exchange has under the order's own ID.
func (r *OrderRepository) ByID(ctx context.Context, exchange, id string) (fulloncache.Order, error) {
	key := orderKey{exchange, id}
	return r.one(ctx, key.String(), []string{exchange, id}, func(q *bun.SelectQuery) {
		whereKeys(q, []orderKey{key})
		q.OrderExpr("o.client_order_id IS NULL")
	})
}

// ByRecord returns the order of a row.
func (r *OrderRepository) ByRecord(ctx context.Context, recordID int64) (fulloncache.Order, error) {
	return r.one(ctx, fmt.Sprintf("order of record %d", recordID), nil, func(q *bun.SelectQuery) { q.Where("o.order_id = ?", recordID) })
}

// ByExOrderID returns the order by the exchange's id; the one stored last if an
// exchange has used an id again.
func (r *OrderRepository) ByExOrderID(ctx context.Context, exchange, exOrderID string) (fulloncache.Order, error) {
	what := fmt.Sprintf("order %s of the exchange's id %s", printable(exchange), printable(exOrderID))
	return r.one(ctx, what, []string{exchange, exOrderID}, func(q *bun.SelectQuery) {
		q.Where("o.exchange = ? AND o.ex_order_id = ?", exchange, exOrderID).OrderExpr("o.order_id DESC")
	})
}

// Last returns the order of a bot that was stored last.
func (r *OrderRepository) Last(ctx context.Context, botID int64) (fulloncache.Order, error) {
	return r.one(ctx, fmt.Sprintf("order of bot %d", botID), nil, func(q *bun.SelectQuery) {
		q.Where("o.bot_id = ?", botID).OrderExpr("o.order_id DESC")
	})
}

// one returns the first order that fits; texts are those it is looked up by.
func (r *OrderRepository) one(ctx context.Context, what string, texts []string, where func(*bun.SelectQuery)) (fulloncache.Order, error) {
	var row orderRow
	q := r.conn.q.NewSelect().Model(&row).Limit(1)
	where(q)
	if err := r.conn.scanOne(ctx, what, texts, q); err != nil {
		return fulloncache.Order{}, err
	}
	return row.order(), nil
}

// List returns the orders that fit, in the order of their times and, for the same
// time, of their records.
//
//	filter := orm.OrderFilter{BotID: 7, Newest: true, Limit: 100}
//	for {
//		page, err := db.Orders.List(ctx, filter)
//		if err != nil || len(page) == 0 {
//			return err
//		}
//		…
//		last := page[len(page)-1]
//		filter.After = orm.Cursor{Time: last.Time, ID: last.RecordID}
//	}
func (r *OrderRepository) List(ctx context.Context, f OrderFilter) ([]fulloncache.Order, error) {
	return r.list(ctx, f, f.Statuses)
}

// Open is [OrderRepository.List] of the orders that can still be filled, however
// their status is spelt. Statuses of the filter that are final find nothing.
func (r *OrderRepository) Open(ctx context.Context, f OrderFilter) ([]fulloncache.Order, error) {
	open := f.Statuses
	if len(open) == 0 {
		open = fulloncache.OpenStatuses()
	}
	open = slices.DeleteFunc(slices.Clone(open), fulloncache.OrderStatus.Final)
	if len(open) == 0 {
		return nil, nil
	}
	return r.list(ctx, f, open)
}

func (r *OrderRepository) list(ctx context.Context, f OrderFilter, statuses []fulloncache.OrderStatus) ([]fulloncache.Order, error) {
	var rows []orderRow
	q := r.conn.q.NewSelect().Model(&rows)
	whereIDs(q, id{"o.bot_id", f.BotID}, id{"o.uid", f.UserID}, id{"o.ex_id", f.ExchangeID})
	if len(statuses) > 0 {
		q.Where("lower(o.status) IN (?)", bun.List(spellings(statuses)))
	}
	whereText(q, "o.exchange", f.Exchange)
	whereText(q, "o.symbol", f.Symbol)
	err := paged(q, "o.timestamp", "o.timestamp_nanos", "o.order_id", page{f.From, f.To, f.Newest, f.Limit, f.After})
	if err != nil {
		return nil, err
	}
	if err := q.Scan(ctx); err != nil {
		return nil, r.conn.fail(ctx, "list orders", err)
	}
	orders := make([]fulloncache.Order, len(rows))
	for i := range rows {
		orders[i] = rows[i].order()
	}
	return orders, nil
}

func spellings(statuses []fulloncache.OrderStatus) []string {
	var all []string
	for _, s := range statuses {
		all = append(all, s.Spellings()...)
	}
	return all
}

// UpdateStatus says where an order is now, and returns its row. The same status
// again is no error. It returns [fulloncache.ErrFinal] for an order that is final,
// and [fulloncache.ErrOutdated] for a status of an earlier step: new, pending,
// open, filled in part, final.
func (r *OrderRepository) UpdateStatus(ctx context.Context, exchange, id string, status fulloncache.OrderStatus) (fulloncache.Order, error) {
	if err := status.Validate(); err != nil {
		return fulloncache.Order{}, err
	}
	return r.change(ctx, exchange, id, func(o *fulloncache.Order) error {
		if o.Status.Is(status) {
			return nil
		}
		if err := mayBecome(o.Status, status); err != nil {
			return err
		}
		o.Status = status
		return nil
	})
}

func mayBecome(from, to fulloncache.OrderStatus) error {
	switch {
	case from.Final():
		return fmt.Errorf("%w: it is %s, and cannot become %s", fulloncache.ErrFinal, from, to)
	case step(to) < step(from):
		return fmt.Errorf("%w: it is %s, and cannot become %s", fulloncache.ErrOutdated, from, to)
	}
	return nil
}

// UpdateFinalVolume says how much of an order was filled, in units of the base,
// and returns its row. A final order takes it too: its last fills may be learned
// late. It returns [fulloncache.ErrOutdated] if the row has more already.
func (r *OrderRepository) UpdateFinalVolume(ctx context.Context, exchange, id string, volume fulloncache.Decimal) (fulloncache.Order, error) {
	if volume.Sign() < 0 {
		return fulloncache.Order{}, fmt.Errorf("%w: final_volume %s: want at least 0", fulloncache.ErrInvalid, volume)
	}
	return r.change(ctx, exchange, id, func(o *fulloncache.Order) error {
		if o.FinalVolume.Valid && volume.Cmp(o.FinalVolume.Decimal) < 0 {
			return fmt.Errorf("%w: %s of it is filled, not %s", fulloncache.ErrOutdated, o.FinalVolume, volume)
		}
		o.FinalVolume = fulloncache.Some(volume)
		return nil
	})
}

// SetExOrderID says what the exchange calls an order, and returns its row. A final
// order takes one if it has none, else it returns [fulloncache.ErrFinal]; an open
// one takes another, as exchanges give one to an order that is amended.
func (r *OrderRepository) SetExOrderID(ctx context.Context, exchange, id, exOrderID string) (fulloncache.Order, error) {
	if exOrderID == "" || len(exOrderID) > maxRef || !storable(exOrderID) {
		return fulloncache.Order{}, fmt.Errorf("%w: ex_order_id %s: want 1 to %d bytes of UTF-8 without null bytes",
			fulloncache.ErrInvalid, printable(exOrderID), maxRef)
	}
	return r.change(ctx, exchange, id, func(o *fulloncache.Order) error {
		if o.Status.Final() && o.ExOrderID != "" && o.ExOrderID != exOrderID {
			return fmt.Errorf("%w: the exchange calls it %s, not %s", fulloncache.ErrFinal, printable(o.ExOrderID), printable(exOrderID))
		}
		o.ExOrderID = exOrderID
		return nil
	})
}

// change changes one order while nobody else does.
func (r *OrderRepository) change(ctx context.Context, exchange, id string, set func(*fulloncache.Order) error) (fulloncache.Order, error) {
	key := orderKey{exchange, id}
	what := key.String()
	if err := r.conn.mayExist(ctx, what, exchange, id); err != nil {
		return fulloncache.Order{}, err
	}
	var now fulloncache.Order
	err := r.conn.atomically(ctx, what, func(c *conn) error {
		found, err := r.lock(ctx, c, []orderKey{key})
		if err != nil {
			return err
		}
		old, ok := found[key]
		if !ok {
			return c.fail(ctx, what, sql.ErrNoRows)
		}
		now = old
		if err := set(&now); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if now.Equal(old) {
			return nil
		}
		return r.update(ctx, c, []orderRow{newOrderRow(now)})
	})
	if err != nil {
		return fulloncache.Order{}, err
	}
	return now, nil
}

// UpdateStatuses moves all orders of a bot from one status, however it is spelt,
// to another, in one statement, and returns how many they were:
//
//	db.Orders.UpdateStatuses(ctx, bot, fulloncache.OrderNew, fulloncache.OrderCancelled)
//
// It returns [fulloncache.ErrFinal] or [fulloncache.ErrOutdated] if no order may
// go that way, as [OrderRepository.UpdateStatus] does.
func (r *OrderRepository) UpdateStatuses(ctx context.Context, botID int64, from, to fulloncache.OrderStatus) (int, error) {
	for _, err := range []error{from.Validate(), to.Validate(), mayBecome(from, to)} {
		if err != nil {
			return 0, err
		}
	}
	n, err := r.conn.exec(ctx, fmt.Sprintf("update the orders of bot %d", botID),
		"UPDATE orders SET status = ? WHERE bot_id = ? AND lower(status) IN (?)", string(to), botID, bun.List(from.Spellings()))
	return int(n), err
}

// Delete removes an order by its record.
func (r *OrderRepository) Delete(ctx context.Context, recordID int64) error {
	return deleteByID(ctx, r.conn, "order", "orders", "order_id", recordID)
}

func newOrderRow(o fulloncache.Order) orderRow {
	return orderRow{
		OrderID: o.RecordID, ClientOrderID: o.ID, BotID: o.BotID, UserID: o.UserID, ExchangeID: o.ExchangeID,
		ExOrderID: o.ExOrderID, CatExchangeID: o.CatExchangeID, Exchange: o.Exchange, Symbol: o.Symbol, Type: o.Type,
		Side: string(o.Side), Volume: number{fulloncache.Some(o.Volume)}, FinalVolume: number{o.FinalVolume}, Price: number{o.Price},
		PLimit: number{o.PLimit}, Tick: number{o.Tick}, Leverage: number{o.Leverage}, Futures: o.Futures,
		Status: string(o.Status), Command: o.Command, Reason: o.Reason, Time: instant{o.Time}, Nanos: nanosOf(o.Time),
	}
}

func (r *orderRow) order() fulloncache.Order {
	return fulloncache.Order{
		Market: fulloncache.Market{Exchange: r.Exchange, Symbol: r.Symbol},
		ID:     cmp.Or(r.ClientOrderID, strconv.FormatInt(r.OrderID, 10)), RecordID: r.OrderID,
		BotID: r.BotID, UserID: r.UserID, ExchangeID: r.ExchangeID, ExOrderID: r.ExOrderID, CatExchangeID: r.CatExchangeID,
		Type: r.Type, Side: sideOf(r.Side), Volume: r.Volume.Decimal,
		FinalVolume: r.FinalVolume.NullDecimal, Price: r.Price.NullDecimal,
		PLimit: r.PLimit.NullDecimal, Tick: r.Tick.NullDecimal, Leverage: r.Leverage.NullDecimal,
		Futures: r.Futures, Status: fulloncache.OrderStatus(r.Status), Command: r.Command, Reason: r.Reason, Time: r.Time.withNanos(r.Nanos),
	}
}

// sideOf reads the side as programs of old wrote it: "Buy".
func sideOf(s string) fulloncache.Side { return fulloncache.Side(strings.ToLower(s)) }
