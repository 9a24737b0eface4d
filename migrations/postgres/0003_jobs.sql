-- Jobs belong to the installation, not to an org: these two tables have no org_id.

-- How far each job's schedule has been looked at.
CREATE TABLE job_schedules (
    job_id           TEXT        NOT NULL PRIMARY KEY,
    watermark        TIMESTAMPTZ NOT NULL,
    definition_hash  TEXT        NOT NULL,
    updated_at       TIMESTAMPTZ NOT NULL
);

-- One execution of a job. A skipped instant is a row too, with its reason.
CREATE TABLE job_runs (
    run_id           TEXT        NOT NULL PRIMARY KEY,
    job_id           TEXT        NOT NULL,
    kind             TEXT        NOT NULL,
    trigger_kind     TEXT        NOT NULL,
    scheduled_for    TIMESTAMPTZ,
    state            TEXT        NOT NULL,
    requested_by     TEXT        NOT NULL,
    reason           TEXT,
    definition_hash  TEXT        NOT NULL,
    app_version      TEXT        NOT NULL,
    worker_id        TEXT,
    lease_token      TEXT,
    lease_until      TIMESTAMPTZ,
    created_at       TIMESTAMPTZ NOT NULL,
    started_at       TIMESTAMPTZ,
    finished_at      TIMESTAMPTZ,
    seen             BIGINT      NOT NULL,
    acted            BIGINT      NOT NULL,
    skipped          BIGINT      NOT NULL,
    failed           BIGINT      NOT NULL,
    report           TEXT,
    error_code       TEXT,
    error_message    TEXT
);
-- One run per job and due instant, whichever replica is first.
CREATE UNIQUE INDEX job_runs_instant
    ON job_runs (job_id, scheduled_for) WHERE trigger_kind = 'schedule';
-- One running run per job: overlap is a fact of the database, not a flag somebody forgets.
CREATE UNIQUE INDEX job_runs_running ON job_runs (job_id) WHERE state = 'running';
CREATE INDEX job_runs_queued ON job_runs (created_at) WHERE state = 'queued';
CREATE INDEX job_runs_history ON job_runs (job_id, run_id);
