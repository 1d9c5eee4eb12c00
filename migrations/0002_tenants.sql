-- Plans, tenants, API keys, admin tokens.

CREATE TABLE maas.plans (
    id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name             text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
    -- of each key, unless the key has a rate of its own
    rate             bigint NOT NULL CHECK (rate BETWEEN 1 AND 1000000000),
    window_ms        integer NOT NULL DEFAULT 1000 CHECK (window_ms BETWEEN 1 AND 86400000),
    burst            bigint NOT NULL CHECK (burst BETWEEN 1 AND 1000000000),
    -- of all keys of a tenant together; NULL: no such limit
    tenant_rate      bigint CHECK (tenant_rate BETWEEN 1 AND 1000000000),
    tenant_window_ms integer CHECK (tenant_window_ms BETWEEN 1 AND 86400000),
    tenant_burst     bigint CHECK (tenant_burst BETWEEN 1 AND 1000000000),
    body_max         bigint NOT NULL DEFAULT 8388608 CHECK (body_max BETWEEN 1024 AND 67108864),
    v2_body_max      bigint NOT NULL DEFAULT 67108864 CHECK (v2_body_max BETWEEN 1024 AND 67108864),
    max_rows         integer NOT NULL DEFAULT 10000 CHECK (max_rows BETWEEN 1 AND 10000000),
    created_at       timestamptz NOT NULL DEFAULT now(),
    CHECK (num_nulls(tenant_rate, tenant_window_ms, tenant_burst) IN (0, 3))
);

INSERT INTO maas.plans (name, rate, window_ms, burst) VALUES ('default', 1000, 1000, 1000);

CREATE TABLE maas.tenants (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    slug       text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    name       text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    state      text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended', 'closed')),
    plan_id    uuid NOT NULL REFERENCES maas.plans,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX tenants_by_plan ON maas.tenants (plan_id);

CREATE TABLE maas.api_keys (
    id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    -- the public part of the key; never used again, so rows are revoked and not deleted
    key_id         char(8) COLLATE "C" NOT NULL UNIQUE CHECK (key_id ~ '^[0-9A-Za-z]{8}$'),
    tenant_id      uuid NOT NULL REFERENCES maas.tenants,
    name           text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    mac            bytea NOT NULL CHECK (octet_length(mac) = 32),
    pepper_version integer NOT NULL CHECK (pepper_version BETWEEN 1 AND 65535),
    scopes         text[] NOT NULL DEFAULT '{infer:*}'
                   CHECK (cardinality(scopes) BETWEEN 1 AND 16 AND array_position(scopes, NULL) IS NULL),
    state          text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'revoked')),
    not_before     timestamptz,
    expires_at     timestamptz,
    -- instead of the plan's, all three or none
    rate           bigint CHECK (rate BETWEEN 1 AND 1000000000),
    window_ms      integer CHECK (window_ms BETWEEN 1 AND 86400000),
    burst          bigint CHECK (burst BETWEEN 1 AND 1000000000),
    created_at     timestamptz NOT NULL DEFAULT now(),
    revoked_at     timestamptz,
    CHECK (num_nulls(rate, window_ms, burst) IN (0, 3)),
    CHECK ((state = 'revoked') = (revoked_at IS NOT NULL)),
    CHECK (not_before IS NULL OR expires_at IS NULL OR not_before < expires_at)
);
CREATE INDEX api_keys_by_tenant ON maas.api_keys (tenant_id);

CREATE TABLE maas.admin_tokens (
    hash       bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
    name       text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    role       text NOT NULL CHECK (role IN ('viewer', 'operator', 'tenant-admin', 'owner')),
    tenant_id  uuid REFERENCES maas.tenants,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    CHECK ((role = 'tenant-admin') = (tenant_id IS NOT NULL))
);

ALTER TABLE maas.plans OWNER TO maas_owner;
ALTER TABLE maas.tenants OWNER TO maas_owner;
ALTER TABLE maas.api_keys OWNER TO maas_owner;
ALTER TABLE maas.admin_tokens OWNER TO maas_owner;

ALTER TABLE maas.tenants ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE maas.api_keys ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE maas.admin_tokens ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

CREATE POLICY own ON maas.tenants FOR SELECT TO maas_gateway USING (id = maas.current_tenant());
CREATE POLICY own ON maas.api_keys FOR SELECT TO maas_gateway
    USING (tenant_id = maas.current_tenant());
CREATE POLICY admin ON maas.tenants TO maas_admin USING (true) WITH CHECK (true);
CREATE POLICY admin ON maas.api_keys TO maas_admin USING (true) WITH CHECK (true);
CREATE POLICY admin ON maas.admin_tokens TO maas_admin USING (true) WITH CHECK (true);

-- The data plane reads a tenant's keys for listings, never their MACs (key_lookup gives one).
GRANT SELECT ON maas.tenants TO maas_gateway;
GRANT SELECT (id, key_id, tenant_id, name, pepper_version, scopes, state, not_before, expires_at,
              rate, window_ms, burst, created_at, revoked_at) ON maas.api_keys TO maas_gateway;

GRANT SELECT, INSERT, UPDATE, DELETE ON maas.plans TO maas_admin;
GRANT SELECT, INSERT ON maas.tenants, maas.api_keys, maas.admin_tokens TO maas_admin;
-- What identifies a row never changes, so caches and bills can rely on it.
GRANT UPDATE (name, state, plan_id) ON maas.tenants TO maas_admin;
GRANT UPDATE (name, scopes, state, not_before, expires_at, rate, window_ms, burst, revoked_at)
    ON maas.api_keys TO maas_admin;
GRANT UPDATE (name, expires_at, revoked_at) ON maas.admin_tokens TO maas_admin;
GRANT SELECT ON maas.plans, maas.tenants, maas.api_keys TO maas_system;

-- All that the gateway needs to know of a key, its tenant and its plan, in one row or none. Revoked
-- and expired keys are answered too: the gateway says which it was. Times are microseconds since
-- 1970, 0 where there is none. The tenant's limit is NULL where the plan has none.
CREATE FUNCTION maas.key_lookup(p_key_id text)
    RETURNS TABLE (key uuid, tenant uuid, tenant_slug text, tenant_state text, plan_id uuid,
                   plan text, revoked boolean, not_before_us bigint, expires_us bigint,
                   pepper_version integer, mac bytea, scopes text[], body_max bigint,
                   v2_body_max bigint, max_rows integer, rate bigint, window_ms integer,
                   burst bigint, rate_created_us bigint, tenant_rate bigint,
                   tenant_window_ms integer, tenant_burst bigint, tenant_created_us bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT k.id, t.id, t.slug, t.state, p.id, p.name, k.state = 'revoked',
           coalesce((extract(epoch FROM k.not_before) * 1000000)::bigint, 0),
           coalesce((extract(epoch FROM k.expires_at) * 1000000)::bigint, 0),
           k.pepper_version, k.mac, k.scopes, p.body_max, p.v2_body_max, p.max_rows,
           coalesce(k.rate, p.rate), coalesce(k.window_ms, p.window_ms), coalesce(k.burst, p.burst),
           (extract(epoch FROM k.created_at) * 1000000)::bigint,
           p.tenant_rate, p.tenant_window_ms, p.tenant_burst,
           (extract(epoch FROM t.created_at) * 1000000)::bigint
      FROM maas.api_keys k
      JOIN maas.tenants t ON t.id = k.tenant_id
      JOIN maas.plans p ON p.id = t.plan_id
     WHERE k.key_id = p_key_id::bpchar COLLATE "C"
$$;
ALTER FUNCTION maas.key_lookup(text) OWNER TO maas_system;
GRANT EXECUTE ON FUNCTION maas.key_lookup(text) TO maas_gateway;
