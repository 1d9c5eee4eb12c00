-- Which files may run as plugins: native code is admitted by its digest, never by its name. A plugin
-- may have several allowed digests at a time, so that a new file is rolled out without a gap.

CREATE TABLE maas.plugins (
    id           text NOT NULL CHECK (id ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
    sha256       bytea NOT NULL CHECK (octet_length(sha256) = 32), -- of the file <plugins_dir>/<id>.so
    version      text NOT NULL DEFAULT '' CHECK (length(version) <= 64), -- what the installer called it
    state        text NOT NULL DEFAULT 'allowed' CHECK (state IN ('allowed', 'revoked')),
    installed_by text NOT NULL CHECK (installed_by <> ''), -- who allowed it last
    installed_at timestamptz NOT NULL DEFAULT now(),
    revoked_at   timestamptz,
    PRIMARY KEY (id, sha256),
    CHECK ((revoked_at IS NOT NULL) = (state = 'revoked'))
);
ALTER TABLE maas.plugins OWNER TO maas_owner;
ALTER TABLE maas.plugins ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY admin ON maas.plugins TO maas_admin USING (true) WITH CHECK (true);
-- Rows stay: what was allowed once is part of the story that the audit log tells.
GRANT SELECT, INSERT ON maas.plugins TO maas_admin;
GRANT UPDATE (version, state, installed_by, installed_at, revoked_at) ON maas.plugins TO maas_admin;
GRANT SELECT ON maas.plugins TO maas_system;

-- Each change makes every gateway read its snapshot anew.
CREATE CONSTRAINT TRIGGER registry AFTER INSERT OR UPDATE OR DELETE ON maas.plugins
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION maas.registry_note('plugin', 'id');

-- The digests that may be loaded now.
CREATE FUNCTION maas.registry_plugins() RETURNS TABLE (id text, sha256 bytea)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p.id, p.sha256 FROM maas.plugins p WHERE p.state = 'allowed' ORDER BY p.id, p.sha256
$$;
ALTER FUNCTION maas.registry_plugins() OWNER TO maas_system;
GRANT EXECUTE ON FUNCTION maas.registry_plugins() TO maas_gateway;
