-- Models, versions, artifacts, deployments, grants. tenant_id NULL means the platform's own.

CREATE TABLE maas.models (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id  uuid REFERENCES maas.tenants,
    name       text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
    task       text NOT NULL CHECK (task ~ '^[a-z0-9][a-z0-9-]{0,30}$'),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (tenant_id, name)
);

-- Content-addressed: the digest is the name. EXTERNAL: stored uncompressed, so that a part is read
-- without reading what stands before it.
CREATE TABLE maas.artifacts (
    sha256     bytea PRIMARY KEY CHECK (octet_length(sha256) = 32),
    bytes      bigint NOT NULL CHECK (bytes = octet_length(content)),
    content    bytea NOT NULL CHECK (sha256(content) = sha256),
    media_type text NOT NULL DEFAULT 'application/octet-stream'
               CHECK (length(media_type) BETWEEN 1 AND 100),
    created_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE maas.artifacts ALTER COLUMN content SET STORAGE EXTERNAL;

CREATE TABLE maas.model_versions (
    id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    model_id        uuid NOT NULL REFERENCES maas.models,
    tenant_id       uuid REFERENCES maas.tenants, -- the model's, filled in by the trigger
    number          integer NOT NULL CHECK (number >= 1), -- the next one when NULL is given
    plugin          text NOT NULL CHECK (plugin ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
    options         jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(options) = 'object'),
    artifact_sha256 bytea REFERENCES maas.artifacts,
    metrics         jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metrics) = 'object'),
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (model_id, number)
);
CREATE INDEX model_versions_by_artifact ON maas.model_versions (artifact_sha256);

CREATE TABLE maas.deployments (
    id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id        uuid REFERENCES maas.tenants,
    name             text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$' AND name <> 'stats'),
    model_version_id uuid NOT NULL REFERENCES maas.model_versions,
    -- of the platform's: everybody, or the tenants in model_grants; a tenant's own is private
    visibility       text NOT NULL CHECK (visibility IN ('all', 'granted', 'private')),
    cost_base        integer NOT NULL DEFAULT 1 CHECK (cost_base >= 0),
    cost_per_row     integer NOT NULL DEFAULT 0 CHECK (cost_per_row >= 0),
    min_row_bytes    integer NOT NULL DEFAULT 1 CHECK (min_row_bytes >= 1),
    state            text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'retired')),
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    CHECK ((tenant_id IS NULL) = (visibility <> 'private'))
);
CREATE UNIQUE INDEX deployments_active ON maas.deployments (tenant_id, name) NULLS NOT DISTINCT
    WHERE state = 'active';
CREATE INDEX deployments_by_version ON maas.deployments (model_version_id);

CREATE TABLE maas.model_grants (
    deployment_id uuid NOT NULL REFERENCES maas.deployments ON DELETE CASCADE,
    tenant_id     uuid NOT NULL REFERENCES maas.tenants,
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (deployment_id, tenant_id)
);
CREATE INDEX model_grants_by_tenant ON maas.model_grants (tenant_id);

ALTER TABLE maas.models OWNER TO maas_owner;
ALTER TABLE maas.artifacts OWNER TO maas_owner;
ALTER TABLE maas.model_versions OWNER TO maas_owner;
ALTER TABLE maas.deployments OWNER TO maas_owner;
ALTER TABLE maas.model_grants OWNER TO maas_owner;

-- A version belongs to whom its model belongs; numbers count up per model, under the model's lock.
CREATE FUNCTION maas.model_version_fill() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    SELECT tenant_id INTO NEW.tenant_id FROM maas.models WHERE id = NEW.model_id FOR UPDATE;
    IF NEW.number IS NULL THEN
        SELECT coalesce(max(number), 0) + 1 INTO NEW.number
          FROM maas.model_versions WHERE model_id = NEW.model_id;
    END IF;
    RETURN NEW;
END
$$;
ALTER FUNCTION maas.model_version_fill() OWNER TO maas_owner;
CREATE TRIGGER fill BEFORE INSERT ON maas.model_versions
    FOR EACH ROW EXECUTE FUNCTION maas.model_version_fill();

-- Nobody deploys another tenant's model: a deployment's version is its owner's or the platform's.
CREATE FUNCTION maas.deployment_check() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    of_model uuid;
BEGIN
    SELECT tenant_id INTO of_model FROM maas.model_versions WHERE id = NEW.model_version_id;
    IF of_model IS NOT NULL AND of_model IS DISTINCT FROM NEW.tenant_id THEN
        RAISE EXCEPTION 'the model version belongs to another tenant'
            USING ERRCODE = 'check_violation';
    END IF;
    NEW.updated_at := now();
    RETURN NEW;
END
$$;
ALTER FUNCTION maas.deployment_check() OWNER TO maas_owner;
CREATE TRIGGER check_owner BEFORE INSERT OR UPDATE ON maas.deployments
    FOR EACH ROW EXECUTE FUNCTION maas.deployment_check();

ALTER TABLE maas.models ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE maas.model_versions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE maas.deployments ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE maas.model_grants ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

CREATE POLICY own ON maas.models FOR SELECT TO maas_gateway
    USING (tenant_id = maas.current_tenant());
CREATE POLICY own ON maas.model_versions FOR SELECT TO maas_gateway
    USING (tenant_id = maas.current_tenant());
CREATE POLICY own ON maas.deployments FOR SELECT TO maas_gateway
    USING (tenant_id = maas.current_tenant());
CREATE POLICY own ON maas.model_grants FOR SELECT TO maas_gateway
    USING (tenant_id = maas.current_tenant());
CREATE POLICY admin ON maas.models TO maas_admin USING (true) WITH CHECK (true);
CREATE POLICY admin ON maas.model_versions TO maas_admin USING (true) WITH CHECK (true);
CREATE POLICY admin ON maas.deployments TO maas_admin USING (true) WITH CHECK (true);
CREATE POLICY admin ON maas.model_grants TO maas_admin USING (true) WITH CHECK (true);

GRANT SELECT ON maas.models, maas.model_versions, maas.deployments, maas.model_grants
    TO maas_gateway, maas_system;
GRANT SELECT ON maas.artifacts TO maas_system;
GRANT SELECT, INSERT, DELETE ON maas.models, maas.model_versions, maas.deployments,
    maas.model_grants TO maas_admin;
GRANT UPDATE (name, task) ON maas.models TO maas_admin;
GRANT UPDATE (model_version_id, visibility, cost_base, cost_per_row, min_row_bytes, state)
    ON maas.deployments TO maas_admin;
-- What a version is never changes; what was measured of it may be added.
GRANT UPDATE (metrics) ON maas.model_versions TO maas_admin;
GRANT SELECT, INSERT, DELETE ON maas.artifacts TO maas_admin;

-- Every active deployment with all that routing, billing and loading need: the gateway's snapshot.
-- owner is NULL for the platform's; grants are sorted and empty unless visibility is 'granted'.
CREATE FUNCTION maas.registry_deployments()
    RETURNS TABLE (id uuid, model_id uuid, version_id uuid, owner uuid, name text, task text,
                   plugin text, version integer, artifact bytea, artifact_bytes bigint,
                   options text, cost_base integer, cost_per_row integer, min_row_bytes integer,
                   visibility text, grants uuid[], created_us bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT d.id, m.id, v.id, d.tenant_id, d.name, m.task, v.plugin, v.number, v.artifact_sha256,
           coalesce(a.bytes, 0), v.options::text, d.cost_base, d.cost_per_row, d.min_row_bytes,
           d.visibility,
           CASE WHEN d.visibility = 'granted'
                THEN ARRAY(SELECT g.tenant_id FROM maas.model_grants g
                            WHERE g.deployment_id = d.id ORDER BY g.tenant_id)
                ELSE '{}' END,
           (extract(epoch FROM d.created_at) * 1000000)::bigint
      FROM maas.deployments d
      JOIN maas.model_versions v ON v.id = d.model_version_id
      JOIN maas.models m ON m.id = v.model_id
      LEFT JOIN maas.artifacts a ON a.sha256 = v.artifact_sha256
     WHERE d.state = 'active'
     ORDER BY d.tenant_id, d.name
$$;
ALTER FUNCTION maas.registry_deployments() OWNER TO maas_system;
GRANT EXECUTE ON FUNCTION maas.registry_deployments() TO maas_gateway;

-- The bytes of an artifact; NULL when there is none. artifact_part reads length bytes from offset
-- (0-based), so that a large one crosses in pieces.
CREATE FUNCTION maas.artifact_read(p_sha256 bytea) RETURNS bytea
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT content FROM maas.artifacts WHERE sha256 = p_sha256
$$;
CREATE FUNCTION maas.artifact_part(p_sha256 bytea, p_offset integer, p_length integer) RETURNS bytea
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT substring(content FROM p_offset + 1 FOR p_length)
      FROM maas.artifacts WHERE sha256 = p_sha256
$$;
ALTER FUNCTION maas.artifact_read(bytea) OWNER TO maas_system;
ALTER FUNCTION maas.artifact_part(bytea, integer, integer) OWNER TO maas_system;
GRANT EXECUTE ON FUNCTION maas.artifact_read(bytea), maas.artifact_part(bytea, integer, integer)
    TO maas_gateway;
