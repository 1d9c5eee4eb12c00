-- Roles, schema, and who may connect. Run by a superuser of the cluster, as all migrations are.
--
-- maas_owner    owns schema and tables. NOLOGIN: nobody works as the owner.
-- maas_gateway  the data plane. LOGIN. Sees a tenant's rows only after set_config('maas.tenant').
-- maas_admin    the admin plane. LOGIN. Sees all tenants through policies that name it.
-- maas_system   NOLOGIN BYPASSRLS: owns the SECURITY DEFINER functions that must cross tenants.
--
-- Passwords are the operator's: ALTER ROLE … PASSWORD after the migrations.
-- Roles belong to the cluster, so they may exist already when a second database is migrated.

DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['maas_owner', 'maas_gateway', 'maas_admin', 'maas_system'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I', role);
        END IF;
    END LOOP;
END
$$;

ALTER ROLE maas_owner NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION NOINHERIT;
ALTER ROLE maas_gateway LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION NOINHERIT;
ALTER ROLE maas_admin LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION NOINHERIT;
ALTER ROLE maas_system NOLOGIN NOSUPERUSER BYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION NOINHERIT;

-- Only the two login roles connect; nobody makes temporary tables, which could shadow real ones.
DO $$
DECLARE
    db text := current_database();
BEGIN
    EXECUTE format('ALTER DATABASE %I OWNER TO maas_owner', db);
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', db);
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO maas_gateway, maas_admin', db);
    EXECUTE format('ALTER ROLE maas_gateway IN DATABASE %I SET search_path = maas', db);
    EXECUTE format('ALTER ROLE maas_admin IN DATABASE %I SET search_path = maas', db);
END
$$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
ALTER SCHEMA maas OWNER TO maas_owner; -- made by the runner for its own table
GRANT USAGE ON SCHEMA maas TO maas_gateway, maas_admin, maas_system;
GRANT SELECT ON maas.schema_migrations TO maas_gateway, maas_admin;

-- A new function belongs to everybody in PostgreSQL; here rights are granted by name only.
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- The tenant that this transaction works for, or NULL. Policies compare with it. PostgreSQL gives
-- an empty string, not NULL, once a setting existed in the session: hence NULLIF.
CREATE FUNCTION maas.current_tenant() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN NULLIF(current_setting('maas.tenant', true), '')::uuid;
ALTER FUNCTION maas.current_tenant() OWNER TO maas_owner;
GRANT EXECUTE ON FUNCTION maas.current_tenant() TO maas_gateway, maas_admin;
