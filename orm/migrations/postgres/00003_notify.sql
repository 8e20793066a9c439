-- Who caches rows of these tables listens on the channel fulloncache_metadata.
-- Every statement that changed rows sends one message per distinct subject; a
-- message is sent when its transaction commits.
--
-- The functions keep the search path of the migration: whoever writes to the
-- tables may have another.

-- +goose Up
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION fulloncache_notify(changed text, subjects text[]) RETURNS void
    LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    channel CONSTANT text := 'fulloncache_metadata';
    subject text;
BEGIN
    -- A null among them is a subject that cannot be named. A payload has less than
    -- 8000 bytes.
    IF cardinality(subjects) > 1000
        OR EXISTS (SELECT FROM unnest(subjects) AS s WHERE s IS NULL OR octet_length(s) >= 8000)
    THEN
        PERFORM pg_notify(channel, json_build_object('table', changed, 'all', true)::text);
        RETURN;
    END IF;
    FOREACH subject IN ARRAY coalesce(subjects, '{}') LOOP
        PERFORM pg_notify(channel, subject);
    END LOOP;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION fulloncache_truncated() RETURNS trigger
    LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    -- The argument is the subject's table, where it is not the one truncated.
    PERFORM fulloncache_notify(coalesce(TG_ARGV[0], TG_TABLE_NAME), ARRAY[NULL]);
    RETURN NULL;
END $$;
-- +goose StatementEnd

-- The transition tables that a statement of its kind lacks are never looked at:
-- plpgsql plans a statement when it gets there.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION fulloncache_cat_exchanges_changed() RETURNS trigger
    LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    subjects text[];
    more     text[];
BEGIN
    IF TG_OP <> 'DELETE' THEN
        SELECT array_agg(DISTINCT json_build_object('table', 'cat_exchanges', 'exchange', r.name)::text)
            INTO subjects FROM new_rows r;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        SELECT array_agg(DISTINCT json_build_object('table', 'cat_exchanges', 'exchange', r.name)::text)
            INTO more FROM old_rows r;
    END IF;
    PERFORM fulloncache_notify('cat_exchanges', ARRAY(SELECT unnest(subjects) UNION SELECT unnest(more)));
    RETURN NULL;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION fulloncache_cat_exchanges_params_changed() RETURNS trigger
    LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    subjects bigint[];
    more     bigint[];
BEGIN
    IF TG_OP <> 'DELETE' THEN
        SELECT array_agg(DISTINCT r.cat_ex_id) INTO subjects FROM new_rows r;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        SELECT array_agg(DISTINCT r.cat_ex_id) INTO more FROM old_rows r;
    END IF;
    PERFORM fulloncache_notify('cat_exchanges', ARRAY(
        SELECT CASE WHEN c.name IS NOT NULL THEN json_build_object('table', 'cat_exchanges', 'exchange', c.name)::text END
        FROM (SELECT unnest(subjects) AS id UNION SELECT unnest(more)) AS ids
        LEFT JOIN cat_exchanges c ON c.cat_ex_id = ids.id));
    RETURN NULL;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION fulloncache_symbols_changed() RETURNS trigger
    LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    subjects bigint[];
    more     bigint[];
BEGIN
    IF TG_OP <> 'DELETE' THEN
        SELECT array_agg(DISTINCT r.cat_ex_id) INTO subjects FROM new_rows r;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        SELECT array_agg(DISTINCT r.cat_ex_id) INTO more FROM old_rows r;
    END IF;
    PERFORM fulloncache_notify('symbols', ARRAY(
        SELECT CASE WHEN c.name IS NOT NULL THEN json_build_object('table', 'symbols', 'exchange', c.name)::text END
        FROM (SELECT unnest(subjects) AS id UNION SELECT unnest(more)) AS ids
        LEFT JOIN cat_exchanges c ON c.cat_ex_id = ids.id));
    RETURN NULL;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION fulloncache_exchanges_changed() RETURNS trigger
    LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    subjects text[];
    more     text[];
BEGIN
    IF TG_OP <> 'DELETE' THEN
        SELECT array_agg(DISTINCT json_build_object('table', 'exchanges', 'id', r.ex_id, 'user', r.uid)::text)
            INTO subjects FROM new_rows r;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        SELECT array_agg(DISTINCT json_build_object('table', 'exchanges', 'id', r.ex_id, 'user', r.uid)::text)
            INTO more FROM old_rows r;
    END IF;
    PERFORM fulloncache_notify('exchanges', ARRAY(SELECT unnest(subjects) UNION SELECT unnest(more)));
    RETURN NULL;
END $$;
-- +goose StatementEnd

-- A trigger with transition tables is one event's.
-- +goose StatementBegin
DO $$
DECLARE
    watched text;
BEGIN
    FOREACH watched IN ARRAY ARRAY['cat_exchanges', 'cat_exchanges_params', 'exchanges', 'symbols'] LOOP
        EXECUTE format('DROP TRIGGER IF EXISTS fulloncache_insert ON %I', watched);
        EXECUTE format('CREATE TRIGGER fulloncache_insert AFTER INSERT ON %I REFERENCING NEW TABLE AS new_rows
            FOR EACH STATEMENT EXECUTE FUNCTION fulloncache_%s_changed()', watched, watched);
        EXECUTE format('DROP TRIGGER IF EXISTS fulloncache_update ON %I', watched);
        EXECUTE format('CREATE TRIGGER fulloncache_update AFTER UPDATE ON %I REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
            FOR EACH STATEMENT EXECUTE FUNCTION fulloncache_%s_changed()', watched, watched);
        EXECUTE format('DROP TRIGGER IF EXISTS fulloncache_delete ON %I', watched);
        EXECUTE format('CREATE TRIGGER fulloncache_delete AFTER DELETE ON %I REFERENCING OLD TABLE AS old_rows
            FOR EACH STATEMENT EXECUTE FUNCTION fulloncache_%s_changed()', watched, watched);
        EXECUTE format('DROP TRIGGER IF EXISTS fulloncache_truncate ON %I', watched);
        EXECUTE format('CREATE TRIGGER fulloncache_truncate AFTER TRUNCATE ON %I
            FOR EACH STATEMENT EXECUTE FUNCTION fulloncache_truncated(%s)', watched,
            CASE watched WHEN 'cat_exchanges_params' THEN quote_literal('cat_exchanges') END);
    END LOOP;
END $$;
-- +goose StatementEnd
