-- Projects with their buildings, units and people; users with their roles and scopes.

CREATE TABLE project (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code       text NOT NULL UNIQUE CHECK (code ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
    name       text NOT NULL,
    time_zone  text NOT NULL,
    currency   text NOT NULL DEFAULT 'CNY' CHECK (currency ~ '^[A-Z]{3}$'),
    address    text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now()
);
CALL gm.keep_audit('project', 'id');
CALL gm.guard('project', 'true', 'id');

CREATE TABLE app_user (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    login         text NOT NULL,
    display_name  text NOT NULL,
    password_hash text NOT NULL,
    locale        text NOT NULL DEFAULT 'zh-CN',
    active        boolean NOT NULL DEFAULT true,
    failed_logins int NOT NULL DEFAULT 0,
    locked_until  timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX app_user_login ON app_user (lower(login));
CALL gm.keep_audit('app_user', 'none', ARRAY['password_hash', 'failed_logins', 'locked_until']);

CREATE TABLE role_grant (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id    bigint NOT NULL REFERENCES app_user,
    project_id bigint REFERENCES project,
    role       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (user_id, project_id, role)
);
COMMENT ON COLUMN role_grant.project_id IS 'NULL: the role holds in every project.';
CALL gm.keep_audit('role_grant');

-- Browser sessions and API tokens: only the hash of the secret is kept.
CREATE TABLE access_token (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id      bigint NOT NULL REFERENCES app_user,
    kind         text NOT NULL CHECK (kind IN ('session', 'bearer')),
    name         text NOT NULL DEFAULT '',
    token_hash   bytea NOT NULL UNIQUE,
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,
    expires_at   timestamptz NOT NULL,
    revoked_at   timestamptz
);
CREATE INDEX access_token_of_user ON access_token (user_id);
CALL gm.keep_audit('access_token', 'none', ARRAY['token_hash', 'last_used_at']);

-- Phone and ID number are sealed field by field (AES-256-GCM, key version in the first byte); the blind index
-- (HMAC of the normalised value) finds them again without opening them.
CREATE TABLE person (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id       bigint NOT NULL REFERENCES project,
    name             text NOT NULL,
    phone_sealed     bytea,
    phone_index      bytea,
    id_number_sealed bytea,
    id_number_index  bytea,
    email            text,
    created_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id)
);
CREATE INDEX person_phone ON person (project_id, phone_index);
CREATE INDEX person_id_number ON person (project_id, id_number_index);
CALL gm.keep_audit('person', secrets => ARRAY['phone_sealed', 'phone_index', 'id_number_sealed', 'id_number_index']);
CALL gm.guard('person', 'id = ANY ((SELECT gm.persons())::bigint[])');

-- Which person records a resident's login stands for, in which project.
CREATE TABLE resident_link (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    user_id    bigint NOT NULL REFERENCES app_user,
    person_id  bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (user_id, person_id),
    FOREIGN KEY (project_id, person_id) REFERENCES person (project_id, id)
);
CALL gm.keep_audit('resident_link');

CREATE TABLE building (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    code       text NOT NULL,
    name       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    UNIQUE (project_id, code)
);
CALL gm.keep_audit('building');
CALL gm.guard('building', 'true');

CREATE TABLE unit (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  bigint NOT NULL REFERENCES project,
    building_id bigint NOT NULL,
    code        text NOT NULL,
    kind        text NOT NULL DEFAULT 'residential' CHECK (kind IN ('residential', 'shop', 'office', 'industrial', 'common')),
    floor       int,
    area        numeric(12, 2) CHECK (area >= 0),
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    UNIQUE (project_id, building_id, code),
    FOREIGN KEY (project_id, building_id) REFERENCES building (project_id, id)
);
COMMENT ON COLUMN unit.area IS 'Billed floor area in square metres.';

-- Who lives or works in a unit, from when to when (local dates of the project, end exclusive).
CREATE TABLE occupancy (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    unit_id    bigint NOT NULL,
    person_id  bigint NOT NULL,
    role       text NOT NULL CHECK (role IN ('owner', 'tenant', 'family')),
    valid      daterange NOT NULL CHECK (NOT isempty(valid) AND NOT lower_inf(valid)),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    FOREIGN KEY (project_id, unit_id) REFERENCES unit (project_id, id),
    FOREIGN KEY (project_id, person_id) REFERENCES person (project_id, id),
    EXCLUDE USING gist (unit_id WITH =, person_id WITH =, valid WITH &&)
);
CREATE INDEX occupancy_of_person ON occupancy (person_id);
CALL gm.keep_audit('occupancy');
CALL gm.guard('occupancy', 'person_id = ANY ((SELECT gm.persons())::bigint[])');

-- How many persons are filed for a unit: widens tiers from the date of filing.
CREATE TABLE household (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    unit_id    bigint NOT NULL,
    persons    int NOT NULL CHECK (persons BETWEEN 0 AND 99),
    valid      daterange NOT NULL CHECK (NOT isempty(valid) AND NOT lower_inf(valid)),
    created_at timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (project_id, unit_id) REFERENCES unit (project_id, id),
    EXCLUDE USING gist (unit_id WITH =, valid WITH &&)
);
CALL gm.keep_audit('household');

-- Units the asking person occupies or occupied. SECURITY DEFINER: policies of other tables may ask without
-- seeing the occupancy rows of others.
CREATE FUNCTION gm.my_units() RETURNS bigint[] LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT coalesce(array_agg(DISTINCT unit_id), '{}') FROM occupancy WHERE person_id = ANY (gm.persons()) $$;

CALL gm.keep_audit('unit');
CALL gm.guard('unit', 'id = ANY ((SELECT gm.my_units())::bigint[])');
-- How many live there now is nothing for those who lived there before.
CALL gm.guard('household', 'EXISTS (SELECT FROM occupancy o WHERE o.unit_id = household.unit_id
                            AND o.person_id = ANY ((SELECT gm.persons())::bigint[]) AND o.valid && household.valid)');

-- Who pays: bills, payments and late fees belong to an account.
CREATE TABLE account (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    number     text NOT NULL,
    unit_id    bigint,
    person_id  bigint NOT NULL,
    valid      daterange NOT NULL CHECK (NOT isempty(valid) AND NOT lower_inf(valid)),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    UNIQUE (project_id, number),
    FOREIGN KEY (project_id, unit_id) REFERENCES unit (project_id, id),
    FOREIGN KEY (project_id, person_id) REFERENCES person (project_id, id)
);
CREATE INDEX account_of_unit ON account (unit_id);
CREATE INDEX account_of_person ON account (person_id);

CREATE FUNCTION gm.my_accounts() RETURNS bigint[] LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT coalesce(array_agg(id), '{}') FROM account WHERE person_id = ANY (gm.persons()) $$;

CALL gm.keep_audit('account');
CALL gm.guard('account', 'person_id = ANY ((SELECT gm.persons())::bigint[])');

-- Identity tables: found while signing in, otherwise a user sees himself and staff see the users of their projects.
ALTER TABLE app_user ENABLE ROW LEVEL SECURITY;
ALTER TABLE role_grant ENABLE ROW LEVEL SECURITY;
ALTER TABLE access_token ENABLE ROW LEVEL SECURITY;
ALTER TABLE resident_link ENABLE ROW LEVEL SECURITY;

CREATE POLICY sign_in ON app_user TO gatemeter_web USING ((SELECT gm.kind()) = 'sign-in');
CREATE POLICY sign_in ON role_grant FOR SELECT TO gatemeter_web USING ((SELECT gm.kind()) = 'sign-in');
CREATE POLICY sign_in ON access_token TO gatemeter_web USING ((SELECT gm.kind()) = 'sign-in');
CREATE POLICY sign_in ON resident_link FOR SELECT TO gatemeter_web USING ((SELECT gm.kind()) = 'sign-in');
CREATE POLICY sign_in ON project FOR SELECT TO gatemeter_web USING ((SELECT gm.kind()) = 'sign-in');

CREATE POLICY self ON app_user TO gatemeter_web USING (id = (SELECT gm.user_id()));
CREATE POLICY self ON role_grant FOR SELECT TO gatemeter_web USING (user_id = (SELECT gm.user_id()));
CREATE POLICY self ON access_token TO gatemeter_web USING (user_id = (SELECT gm.user_id()));
CREATE POLICY self ON resident_link FOR SELECT TO gatemeter_web USING (user_id = (SELECT gm.user_id()));

CREATE POLICY staff ON role_grant TO gatemeter_web
    USING ((SELECT gm.kind()) = 'staff' AND project_id = ANY ((SELECT gm.projects())::bigint[]));
CREATE POLICY staff ON resident_link TO gatemeter_web
    USING ((SELECT gm.kind()) = 'staff' AND project_id = ANY ((SELECT gm.projects())::bigint[]));
CREATE POLICY staff ON app_user FOR SELECT TO gatemeter_web
    USING ((SELECT gm.kind()) = 'staff' AND EXISTS (
        SELECT FROM role_grant g WHERE g.user_id = app_user.id AND g.project_id = ANY ((SELECT gm.projects())::bigint[])));

CREATE POLICY system ON app_user TO gatemeter_worker USING ((SELECT gm.kind()) = 'system');
CREATE POLICY system ON role_grant TO gatemeter_worker USING ((SELECT gm.kind()) = 'system');
CREATE POLICY system ON access_token TO gatemeter_worker USING ((SELECT gm.kind()) = 'system');
CREATE POLICY system ON resident_link TO gatemeter_worker USING ((SELECT gm.kind()) = 'system');

GRANT SELECT, INSERT, UPDATE ON app_user, access_token TO gatemeter_web, gatemeter_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON role_grant, resident_link TO gatemeter_web, gatemeter_worker;
