-- Who gets how much of a worker, and what stays loaded. The two functions answer one column more each; what was said of
-- them where they were made first still holds.

-- Of the time of a worker that tenants share, beside others who want it at the same time.
ALTER TABLE maas.plans ADD COLUMN weight integer NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 1000);
-- Loaded at the start, and never unloaded for another.
ALTER TABLE maas.deployments ADD COLUMN pinned boolean NOT NULL DEFAULT false;
GRANT UPDATE (pinned) ON maas.deployments TO maas_admin;

DROP FUNCTION maas.key_lookup(text);
CREATE FUNCTION maas.key_lookup(p_key_id text)
    RETURNS TABLE (key uuid, tenant uuid, tenant_slug text, tenant_state text, plan_id uuid,
                   plan text, revoked boolean, not_before_us bigint, expires_us bigint,
                   pepper_version integer, mac bytea, scopes text[], body_max bigint,
                   v2_body_max bigint, max_rows integer, weight integer, rate bigint, window_ms integer,
                   burst bigint, rate_created_us bigint, tenant_rate bigint,
                   tenant_window_ms integer, tenant_burst bigint, tenant_created_us bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT k.id, t.id, t.slug, t.state, p.id, p.name, k.state = 'revoked',
           coalesce((extract(epoch FROM k.not_before) * 1000000)::bigint, 0),
           coalesce((extract(epoch FROM k.expires_at) * 1000000)::bigint, 0),
           k.pepper_version, k.mac, k.scopes, p.body_max, p.v2_body_max, p.max_rows,
           p.weight,
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

DROP FUNCTION maas.registry_deployments();
CREATE FUNCTION maas.registry_deployments()
    RETURNS TABLE (id uuid, model_id uuid, version_id uuid, owner uuid, name text, task text,
                   plugin text, version integer, artifact bytea, artifact_bytes bigint,
                   options text, cost_base integer, cost_per_row integer, min_row_bytes integer,
                   visibility text, grants uuid[], created_us bigint,
                   pinned boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT d.id, m.id, v.id, d.tenant_id, d.name, m.task, v.plugin, v.number, v.artifact_sha256,
           coalesce(a.bytes, 0), v.options::text, d.cost_base, d.cost_per_row, d.min_row_bytes,
           d.visibility,
           CASE WHEN d.visibility = 'granted'
                THEN ARRAY(SELECT g.tenant_id FROM maas.model_grants g
                            WHERE g.deployment_id = d.id ORDER BY g.tenant_id)
                ELSE '{}' END,
           (extract(epoch FROM d.created_at) * 1000000)::bigint, d.pinned
      FROM maas.deployments d
      JOIN maas.model_versions v ON v.id = d.model_version_id
      JOIN maas.models m ON m.id = v.model_id
      LEFT JOIN maas.artifacts a ON a.sha256 = v.artifact_sha256
     WHERE d.state = 'active'
     ORDER BY d.tenant_id, d.name
$$;
ALTER FUNCTION maas.registry_deployments() OWNER TO maas_system;
GRANT EXECUTE ON FUNCTION maas.registry_deployments() TO maas_gateway;
