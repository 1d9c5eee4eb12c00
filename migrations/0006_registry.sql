-- The change log that keeps the gateways' caches true. Every table they cache writes here.

CREATE TABLE maas.registry_changes (
    seq  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL, -- key, tenant, plan, deployment, grant, model
    id   text NOT NULL, -- of a key its public key_id, of a grant its deployment, else the uuid
    at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
ALTER TABLE maas.registry_changes OWNER TO maas_owner;
GRANT SELECT ON maas.registry_changes TO maas_admin;
GRANT SELECT, INSERT ON maas.registry_changes TO maas_system;

-- The lock makes numbers become visible in their order: without it a reader that has seen 6 could
-- miss a 5 that commits later. The triggers are deferred, so the lock is taken last, at commit, when
-- no row lock is waited for any more: two changes never deadlock over it.
CREATE FUNCTION maas.registry_note() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    row jsonb := to_jsonb(CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END);
    noted bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('maas.registry_changes', 0));
    INSERT INTO maas.registry_changes (kind, id) VALUES (TG_ARGV[0], row ->> TG_ARGV[1])
        RETURNING seq INTO noted;
    PERFORM pg_notify('maas_registry', noted::text);
    RETURN NULL;
END
$$;
ALTER FUNCTION maas.registry_note() OWNER TO maas_system;

-- A new key is noted because its absence may be cached; a new tenant, plan or model is not.
CREATE CONSTRAINT TRIGGER registry AFTER INSERT OR UPDATE OR DELETE ON maas.api_keys
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION maas.registry_note('key', 'key_id');
CREATE CONSTRAINT TRIGGER registry AFTER UPDATE OR DELETE ON maas.tenants
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION maas.registry_note('tenant', 'id');
CREATE CONSTRAINT TRIGGER registry AFTER UPDATE OR DELETE ON maas.plans
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION maas.registry_note('plan', 'id');
CREATE CONSTRAINT TRIGGER registry AFTER INSERT OR UPDATE OR DELETE ON maas.deployments
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION maas.registry_note('deployment', 'id');
CREATE CONSTRAINT TRIGGER registry AFTER INSERT OR DELETE ON maas.model_grants
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION maas.registry_note('grant', 'deployment_id');
CREATE CONSTRAINT TRIGGER registry AFTER UPDATE ON maas.models
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION maas.registry_note('model', 'id');

CREATE FUNCTION maas.registry_seq() RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(max(seq), 0) FROM maas.registry_changes
$$;

-- The changes after p_seq, oldest first, at most 1000: one who is further behind asks again.
CREATE FUNCTION maas.registry_since(p_seq bigint) RETURNS TABLE (seq bigint, kind text, id text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT seq, kind, id FROM maas.registry_changes WHERE seq > p_seq ORDER BY seq LIMIT 1000
$$;

ALTER FUNCTION maas.registry_seq() OWNER TO maas_system;
ALTER FUNCTION maas.registry_since(bigint) OWNER TO maas_system;
GRANT EXECUTE ON FUNCTION maas.registry_seq(), maas.registry_since(bigint) TO maas_gateway, maas_admin;
