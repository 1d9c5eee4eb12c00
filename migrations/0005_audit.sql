-- Who changed what. Append only, by grant and by trigger; each row carries the digest of the one
-- before, so a row that was changed or taken out shows in audit_verify().

CREATE TABLE maas.audit_log (
    seq        bigint PRIMARY KEY, -- 1, 2, 3 … without gaps: given under the lock, not by a sequence
    at         timestamptz NOT NULL,
    actor      text NOT NULL,
    action     text NOT NULL,
    object     text NOT NULL,
    before     jsonb,
    after      jsonb,
    request_id text,
    prev_hash  bytea NOT NULL,
    hash       bytea NOT NULL
);
CREATE INDEX audit_log_by_object ON maas.audit_log (object, seq);
ALTER TABLE maas.audit_log OWNER TO maas_owner;
GRANT SELECT ON maas.audit_log TO maas_admin;
GRANT SELECT, INSERT ON maas.audit_log TO maas_system;

-- hash = SHA-256(prev_hash || the row as a JSON array, in UTF-8). Independent of session settings.
CREATE FUNCTION maas.audit_hash(r maas.audit_log) RETURNS bytea
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT sha256(r.prev_hash || convert_to(jsonb_build_array(
        r.seq, to_char(r.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), r.actor, r.action,
        r.object, r.before, r.after, r.request_id)::text, 'UTF8'))
$$;

CREATE FUNCTION maas.audit_chain() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('maas.audit_log', 0));
    SELECT seq, hash INTO NEW.seq, NEW.prev_hash FROM maas.audit_log ORDER BY seq DESC LIMIT 1;
    NEW.seq := coalesce(NEW.seq, 0) + 1;
    NEW.prev_hash := coalesce(NEW.prev_hash, '\x'::bytea);
    NEW.at := clock_timestamp();
    NEW.hash := maas.audit_hash(NEW);
    RETURN NEW;
END
$$;
CREATE TRIGGER chain BEFORE INSERT ON maas.audit_log
    FOR EACH ROW EXECUTE FUNCTION maas.audit_chain();

CREATE FUNCTION maas.audit_refuse() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append only' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON maas.audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION maas.audit_refuse();

-- Appends one row and answers its number. Call it in the transaction of the change it records: the
-- chain's lock is held until that ends.
CREATE FUNCTION maas.audit_append(p_actor text, p_action text, p_object text, p_before jsonb,
                                  p_after jsonb, p_request_id text) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO maas.audit_log (actor, action, object, before, after, request_id)
    VALUES (p_actor, p_action, p_object, p_before, p_after, p_request_id)
    RETURNING seq
$$;

-- The first row whose number, link or digest is wrong; NULL when the chain is whole. A chain cut
-- off at its end is whole in itself: compare the last hash with one kept elsewhere.
CREATE FUNCTION maas.audit_verify() RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT min(c.seq) FROM (
        SELECT a.seq,
               a.seq = row_number() OVER w
               AND a.prev_hash = lag(a.hash, 1, '\x'::bytea) OVER w
               AND a.hash = maas.audit_hash(a) AS ok
          FROM maas.audit_log a WINDOW w AS (ORDER BY a.seq)) c
     WHERE c.ok IS NOT TRUE
$$;

ALTER FUNCTION maas.audit_hash(maas.audit_log) OWNER TO maas_owner;
ALTER FUNCTION maas.audit_chain() OWNER TO maas_owner;
ALTER FUNCTION maas.audit_refuse() OWNER TO maas_owner;
ALTER FUNCTION maas.audit_append(text, text, text, jsonb, jsonb, text) OWNER TO maas_system;
ALTER FUNCTION maas.audit_verify() OWNER TO maas_system;
GRANT EXECUTE ON FUNCTION maas.audit_hash(maas.audit_log) TO maas_system;
GRANT EXECUTE ON FUNCTION maas.audit_append(text, text, text, jsonb, jsonb, text),
    maas.audit_verify() TO maas_admin;
