-- Keys: from where they may be used, rotation, when they were used last; what a plan lets a tenant have; and the
-- functions by which tenants keep their own keys.

ALTER TABLE maas.api_keys
    ADD COLUMN allow cidr[] NOT NULL DEFAULT '{}' CHECK (cardinality(allow) <= 32 AND array_position(allow, NULL) IS NULL),
    ADD COLUMN rotated_from uuid REFERENCES maas.api_keys,
    ADD COLUMN last_used date; -- in UTC
GRANT SELECT (allow, rotated_from, last_used) ON maas.api_keys TO maas_gateway;
GRANT UPDATE (allow) ON maas.api_keys TO maas_admin;
GRANT INSERT, UPDATE ON maas.api_keys TO maas_system;

ALTER TABLE maas.plans
    ADD COLUMN keys_max integer NOT NULL DEFAULT 100 CHECK (keys_max BETWEEN 1 AND 100000), -- active ones of a tenant
    ADD COLUMN models_max integer CHECK (models_max BETWEEN 0 AND 1000000),                 -- NULL: as many as it likes
    ADD COLUMN storage_max_bytes bigint CHECK (storage_max_bytes >= 0);                     -- of its artifacts

-- A zone that PostgreSQL does not know would make every day of that tenant an error.
CREATE FUNCTION maas.time_zone_check() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_timezone_names z WHERE z.name = NEW.time_zone) THEN
        RAISE EXCEPTION 'there is no time zone %', NEW.time_zone USING ERRCODE = 'check_violation';
    END IF;
    IF TG_TABLE_NAME = 'tenants' AND TG_OP = 'UPDATE' AND OLD.state = 'closed' AND NEW.state <> 'closed' THEN
        RAISE EXCEPTION 'a closed tenant stays closed' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;
ALTER FUNCTION maas.time_zone_check() OWNER TO maas_owner;
CREATE TRIGGER time_zone BEFORE INSERT OR UPDATE OF time_zone, state ON maas.tenants
    FOR EACH ROW EXECUTE FUNCTION maas.time_zone_check();
GRANT UPDATE (time_zone) ON maas.tenants TO maas_admin;

-- The day of use is no change that a cache must hear of: the trigger fires for what a gateway caches.
DROP TRIGGER registry ON maas.api_keys;
CREATE CONSTRAINT TRIGGER registry AFTER INSERT OR DELETE ON maas.api_keys
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION maas.registry_note('key', 'key_id');
CREATE CONSTRAINT TRIGGER registry_update
    AFTER UPDATE OF name, mac, pepper_version, scopes, state, not_before, expires_at, rate, window_ms, burst, revoked_at, allow
    ON maas.api_keys DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION maas.registry_note('key', 'key_id');

DROP FUNCTION maas.key_lookup(text);
CREATE FUNCTION maas.key_lookup(p_key_id text)
    RETURNS TABLE (key uuid, tenant uuid, tenant_slug text, tenant_state text, plan_id uuid,
                   plan text, revoked boolean, not_before_us bigint, expires_us bigint,
                   pepper_version integer, mac bytea, scopes text[], allow text, body_max bigint,
                   v2_body_max bigint, max_rows integer, weight integer)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT k.id, t.id, t.slug, t.state, p.id, p.name, k.state = 'revoked',
           coalesce((extract(epoch FROM k.not_before) * 1000000)::bigint, 0),
           coalesce((extract(epoch FROM k.expires_at) * 1000000)::bigint, 0),
           k.pepper_version, k.mac, k.scopes, array_to_string(k.allow, E'\n'), p.body_max, p.v2_body_max, p.max_rows,
           p.weight
      FROM maas.api_keys k
      JOIN maas.tenants t ON t.id = k.tenant_id
      JOIN maas.plans p ON p.id = t.plan_id
     WHERE k.key_id = p_key_id::bpchar COLLATE "C"
$$;

-- These keys were used on that day. Called in batches by gateways, for what they had not seen on that day before.
CREATE FUNCTION maas.key_used(p_key_ids text[], p_day date) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH used AS (
        UPDATE maas.api_keys k SET last_used = p_day
         WHERE k.key_id = ANY (p_key_ids::bpchar[]) AND k.last_used IS DISTINCT FROM p_day
           AND coalesce(k.last_used < p_day, true) AND p_day <= (now() AT TIME ZONE 'UTC')::date + 1
        RETURNING 1)
    SELECT count(*) FROM used
$$;

-- ---- tenants keep their own keys: each function works for the tenant of the transaction and leaves its audit row, so
-- there is no change without one. What a key may hand on was checked by the gateway, which alone knows who calls.

CREATE FUNCTION maas.own_key_json(k maas.api_keys) RETURNS json
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_build_object('id', k.key_id, 'object', 'api_key', 'name', k.name, 'scopes', k.scopes, 'allow', k.allow,
                             'state', k.state, 'not_before', k.not_before, 'expires_at', k.expires_at,
                             'created_at', k.created_at, 'revoked_at', k.revoked_at, 'last_used', k.last_used)
$$;

CREATE FUNCTION maas.own_key_create(
    p_actor text, p_request text, p_key_id text, p_name text, p_mac bytea, p_pepper integer, p_scopes text[],
    p_not_before timestamptz, p_expires_at timestamptz, p_allow cidr[]) RETURNS json
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t maas.tenants;
    k maas.api_keys;
BEGIN
    SELECT * INTO t FROM maas.tenants x WHERE x.id = maas.current_tenant() AND x.state = 'active' FOR UPDATE;
    IF NOT FOUND OR (SELECT count(*) >= p.keys_max FROM maas.api_keys a, maas.plans p
                      WHERE a.tenant_id = t.id AND a.state = 'active' AND coalesce(a.expires_at > now(), true)
                        AND p.id = t.plan_id GROUP BY p.keys_max) THEN
        RETURN NULL; -- as many as the plan lets it have
    END IF;
    INSERT INTO maas.api_keys (tenant_id, key_id, name, mac, pepper_version, scopes, not_before, expires_at, allow)
    VALUES (t.id, p_key_id, p_name, p_mac, p_pepper, p_scopes, p_not_before, p_expires_at, p_allow) RETURNING * INTO k;
    PERFORM maas.audit_append(p_actor, 'key.create', 'key', NULL, maas.own_key_json(k)::jsonb, p_request);
    RETURN maas.own_key_json(k);
END
$$;

-- NULL means no change; p_seen is what the key was when the caller's rights were compared with it.
CREATE FUNCTION maas.own_key_change(
    p_actor text, p_request text, p_key_id text, p_name text, p_scopes text[], p_expires_at timestamptz, p_allow cidr[],
    p_revoke boolean, p_seen text) RETURNS json
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    k maas.api_keys;
    was jsonb;
BEGIN
    SELECT * INTO k FROM maas.api_keys a
     WHERE a.tenant_id = maas.current_tenant() AND a.key_id = p_key_id::bpchar COLLATE "C" FOR UPDATE;
    IF NOT FOUND OR maas.own_key_json(k)::jsonb - 'last_used' <> p_seen::jsonb - 'last_used' THEN
        RETURN NULL; -- not what the caller's rights were compared with
    END IF;
    was := maas.own_key_json(k)::jsonb;
    UPDATE maas.api_keys a
       SET name = coalesce(p_name, a.name), scopes = coalesce(p_scopes, a.scopes), allow = coalesce(p_allow, a.allow),
           expires_at = coalesce(p_expires_at, a.expires_at),
           state = CASE WHEN p_revoke THEN 'revoked' ELSE a.state END,
           revoked_at = CASE WHEN p_revoke THEN coalesce(a.revoked_at, now()) ELSE a.revoked_at END
     WHERE a.id = k.id RETURNING * INTO k;
    PERFORM maas.audit_append(p_actor, CASE WHEN p_revoke THEN 'key.revoke' ELSE 'key.change' END, 'key', was,
                              maas.own_key_json(k)::jsonb, p_request);
    RETURN maas.own_key_json(k);
END
$$;

-- A new key that may do what the old one may; the old one ends p_overlap_s from now, or when it would have.
-- p_tenant NULL: whose key it is does not matter, p_seen NULL: nor what it was (operators).
CREATE FUNCTION maas.key_rotate(
    p_tenant uuid, p_actor text, p_request text, p_key_id text, p_new_id text, p_mac bytea, p_pepper integer,
    p_overlap_s integer, p_seen text) RETURNS json
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    k maas.api_keys;
    n maas.api_keys;
BEGIN
    SELECT * INTO k FROM maas.api_keys a
     WHERE (p_tenant IS NULL OR a.tenant_id = p_tenant) AND a.key_id = p_key_id::bpchar COLLATE "C"
       AND a.state = 'active' FOR UPDATE;
    IF NOT FOUND OR maas.own_key_json(k)::jsonb - 'last_used' <> p_seen::jsonb - 'last_used' THEN
        RETURN NULL;
    END IF;
    INSERT INTO maas.api_keys (tenant_id, key_id, name, mac, pepper_version, scopes, not_before, expires_at, rate, window_ms,
                               burst, allow, rotated_from)
    VALUES (k.tenant_id, p_new_id, k.name, p_mac, p_pepper, k.scopes, NULL, k.expires_at, k.rate, k.window_ms, k.burst,
            k.allow, k.id) RETURNING * INTO n;
    INSERT INTO maas.limits (scope, tenant_id, key_id, measure, amount, window_ms, burst, time_zone)
    SELECT l.scope, l.tenant_id, n.id, l.measure, l.amount, l.window_ms, l.burst, l.time_zone
      FROM maas.limits l WHERE l.key_id = k.id;
    UPDATE maas.api_keys a SET expires_at = least(a.expires_at, now() + p_overlap_s * interval '1 second') WHERE a.id = k.id
    RETURNING * INTO k;
    PERFORM maas.audit_append(p_actor, 'key.rotate', 'key', maas.own_key_json(k)::jsonb, maas.own_key_json(n)::jsonb,
                              p_request);
    RETURN json_build_object('key', maas.own_key_json(n), 'rotated', maas.own_key_json(k));
END
$$;

CREATE FUNCTION maas.own_key_rotate(
    p_actor text, p_request text, p_key_id text, p_new_id text, p_mac bytea, p_pepper integer, p_overlap_s integer,
    p_seen text) RETURNS json
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT maas.key_rotate(t.id, p_actor, p_request, p_key_id, p_new_id, p_mac, p_pepper, p_overlap_s, p_seen)
      FROM maas.tenants t WHERE t.id = maas.current_tenant()
$$;

-- What a key is and may do, for listings and before a change. No row but of the transaction's tenant.
CREATE FUNCTION maas.own_keys(p_key_id text) RETURNS SETOF json
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT maas.own_key_json(k) FROM maas.api_keys k
     WHERE k.tenant_id = maas.current_tenant() AND (p_key_id IS NULL OR k.key_id = p_key_id::bpchar COLLATE "C")
     ORDER BY k.created_at, k.key_id LIMIT 10000
$$;

-- ---- pepper versions

-- Signs a key anew that was just verified under an old version; only over the very mac it was verified against.
CREATE FUNCTION maas.key_resign(p_key_id text, p_old bytea, p_new bytea, p_version integer) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH signed AS (
        UPDATE maas.api_keys k SET mac = p_new, pepper_version = p_version
         WHERE k.key_id = p_key_id::bpchar COLLATE "C" AND k.mac = p_old AND k.pepper_version < p_version RETURNING 1)
    SELECT EXISTS (SELECT FROM signed)
$$;

DO $$
DECLARE
    f text;
BEGIN
    FOR f IN SELECT p.oid::regprocedure FROM pg_proc p
              WHERE p.pronamespace = 'maas'::regnamespace
                AND p.proname IN ('key_lookup', 'key_used', 'key_resign', 'own_key_json', 'own_key_create', 'own_key_change',
                                  'key_rotate', 'own_key_rotate', 'own_keys') LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO maas_system', f);
    END LOOP;
END
$$;
GRANT SELECT, INSERT ON maas.limits TO maas_system;
GRANT SELECT ON maas.tenants, maas.plans TO maas_system;
GRANT UPDATE (state) ON maas.tenants TO maas_system; -- to lock the row while keys are counted
GRANT EXECUTE ON FUNCTION maas.audit_append(text, text, text, jsonb, jsonb, text), maas.current_tenant() TO maas_system;
GRANT EXECUTE ON FUNCTION maas.key_lookup(text), maas.key_used(text[], date), maas.key_resign(text, bytea, bytea, integer),
    maas.own_key_create(text, text, text, text, bytea, integer, text[], timestamptz, timestamptz, cidr[]),
    maas.own_key_change(text, text, text, text, text[], timestamptz, cidr[], boolean, text),
    maas.own_key_rotate(text, text, text, text, bytea, integer, integer, text), maas.own_keys(text) TO maas_gateway;
GRANT EXECUTE ON FUNCTION maas.key_rotate(uuid, text, text, text, text, bytea, integer, integer, text),
    maas.own_key_json(maas.api_keys) TO maas_admin;
