-- Schedules that may be trusted with the button: how far each definition was looked at, retries,
-- previews, replicas, halts, limits, plans.
-- The twin of this file is migrations/postgres/0012_schedules.sql.

-- How far the schedule of each definition of a job has been looked at. Replicas that hold different
-- definitions of one job have a row each, so that neither moves the other's. `held_until`: when a
-- replica that holds it last said so, by the database's clock.
CREATE TABLE job_definitions (
    job_id           TEXT        NOT NULL,
    definition_hash  TEXT        NOT NULL,
    watermark        TEXT NOT NULL,
    held_until       TEXT NOT NULL,
    PRIMARY KEY (job_id, definition_hash)
) STRICT;
INSERT INTO job_definitions (job_id, definition_hash, watermark, held_until)
    SELECT job_id, definition_hash, watermark, updated_at FROM job_schedules;
DROP TABLE job_schedules;

-- A run waits until `not_before` (jitter, or the pause before a retry). Of a plan it does
-- what the plan says and nothing else.
ALTER TABLE job_runs ADD COLUMN not_before TEXT;
ALTER TABLE job_runs ADD COLUMN attempt INTEGER NOT NULL DEFAULT 1;
ALTER TABLE job_runs ADD COLUMN max_attempts INTEGER NOT NULL DEFAULT 1;
ALTER TABLE job_runs ADD COLUMN plan_hash TEXT;
ALTER TABLE job_runs ADD COLUMN trace_id TEXT;
-- One run per job and due instant, whether it was on time, late, or asked for afterwards; and one
-- preview of it.
DROP INDEX job_runs_instant;
CREATE UNIQUE INDEX job_runs_instant
    ON job_runs (job_id, scheduled_for) WHERE trigger_kind IN ('schedule', 'catchup', 'backfill');
CREATE UNIQUE INDEX job_runs_preview
    ON job_runs (job_id, scheduled_for) WHERE trigger_kind = 'preview';
DROP INDEX job_runs_running;
CREATE UNIQUE INDEX job_runs_running
    ON job_runs (job_id) WHERE state = 'running' AND trigger_kind <> 'preview';
-- For monitoring: a job's last success and its last beginning.
CREATE INDEX job_runs_succeeded
    ON job_runs (job_id, finished_at) WHERE state = 'succeeded' AND trigger_kind <> 'preview';
CREATE INDEX job_runs_started
    ON job_runs (job_id, started_at) WHERE started_at IS NOT NULL AND trigger_kind <> 'preview';

-- What became of each attempt of a run; the run's own row is the latest.
CREATE TABLE job_run_attempts (
    run_id         TEXT        NOT NULL,
    attempt        INTEGER NOT NULL,
    state          TEXT        NOT NULL,
    worker_id      TEXT,
    lease_token    TEXT,
    started_at     TEXT,
    finished_at    TEXT NOT NULL,
    error_code     TEXT,
    error_message  TEXT,
    PRIMARY KEY (run_id, attempt)
) STRICT;

-- The processes that run jobs, and which definitions they hold. `seen_at` is the database's clock.
CREATE TABLE replicas (
    replica_id   TEXT        NOT NULL PRIMARY KEY,
    app_version  TEXT        NOT NULL,
    started_at   TEXT NOT NULL,
    seen_at      TEXT NOT NULL
) STRICT;
CREATE TABLE replica_jobs (
    replica_id       TEXT NOT NULL,
    job_id           TEXT NOT NULL,
    definition_hash  TEXT NOT NULL,
    PRIMARY KEY (replica_id, job_id)
) STRICT;

-- What a person stopped. `org_id` '*' is every org; `scope`: everything, org, provider, program;
-- `subject`: the rail or the program, '' where the scope says it all.
CREATE TABLE halts (
    org_id     TEXT        NOT NULL,
    scope      TEXT        NOT NULL,
    subject    TEXT        NOT NULL,
    reason     TEXT        NOT NULL,
    halted_by  TEXT        NOT NULL,
    halted_at  TEXT NOT NULL,
    PRIMARY KEY (org_id, scope, subject)
) STRICT;

-- The zone that a program's periods and days are read in; without one it is the job's.
ALTER TABLE programs ADD COLUMN timezone TEXT;
-- What a program may spend, and what waits for a person.
ALTER TABLE programs ADD COLUMN max_payouts_run INTEGER;
ALTER TABLE programs ADD COLUMN max_payouts_day INTEGER;
ALTER TABLE programs ADD COLUMN approve_first INTEGER NOT NULL DEFAULT 0;
ALTER TABLE programs ADD COLUMN approve_changed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE program_currencies ADD COLUMN max_payout_minor INTEGER;
ALTER TABLE program_currencies ADD COLUMN max_run_minor INTEGER;
ALTER TABLE program_currencies ADD COLUMN max_day_minor INTEGER;
-- What was spent of a day's limits. `holder`: job:<id> or program:<id>; `day`: in the holder's zone.
CREATE TABLE limit_usage (
    org_id        TEXT   NOT NULL,
    holder        TEXT   NOT NULL,
    day           TEXT   NOT NULL,
    currency      TEXT   NOT NULL,
    payouts       INTEGER NOT NULL CHECK (payouts >= 0),
    amount_minor  INTEGER NOT NULL CHECK (amount_minor >= 0),
    PRIMARY KEY (org_id, holder, day, currency)
) STRICT;

-- The half-open interval [from, until) of an automatic payout's period, and why it waits for a person.
ALTER TABLE payouts ADD COLUMN period_from TEXT;
ALTER TABLE payouts ADD COLUMN period_until TEXT;
ALTER TABLE payouts ADD COLUMN approval_reasons TEXT;
-- What is not over yet, for monitoring.
CREATE INDEX payouts_open ON payouts (method_kind, status, requested_at)
    WHERE status IN ('pending', 'approved', 'processing');
CREATE INDEX payouts_of_run ON payouts (org_id, run_id) WHERE run_id IS NOT NULL;

-- What a run would do, written down before: its hash names it, and is NULL while it is being
-- written. Jobs belong to the installation, so a plan does; its lines belong to orgs. `run_id`: what
-- executed it.
CREATE TABLE plans (
    plan_id          TEXT        NOT NULL PRIMARY KEY,
    plan_hash        TEXT        UNIQUE,
    job_id           TEXT        NOT NULL,
    definition_hash  TEXT        NOT NULL,
    planned_for      TEXT NOT NULL,
    made_by          TEXT        NOT NULL,
    made_at          TEXT NOT NULL,
    summary          TEXT        NOT NULL,
    run_id           TEXT
) STRICT;
CREATE INDEX plans_age ON plans (made_at);
CREATE INDEX plans_run ON plans (run_id) WHERE run_id IS NOT NULL;
CREATE TABLE plan_lines (
    org_id            TEXT   NOT NULL,
    plan_id           TEXT   NOT NULL,
    affiliate_id      TEXT   NOT NULL,
    currency          TEXT   NOT NULL,
    program_id        TEXT   NOT NULL,
    period            TEXT   NOT NULL,
    available_minor   INTEGER NOT NULL,
    amount_minor      INTEGER,
    method_kind       TEXT,
    destination_id    TEXT,
    approval_reasons  TEXT,
    failing_gates     TEXT   NOT NULL,
    PRIMARY KEY (org_id, plan_id, affiliate_id, currency)
) STRICT;
