#include "pipeline/model.h"

/* Columns that all tables have. */
#define ID {"id", TT_COLUMN_ID, .comment = "Identity; never used again."}
#define STAMPS                                                                                                               \
    {"created_at", TT_COLUMN_TIME, .preset = "now", .comment = "When the row was made."},                                     \
    {"updated_at", TT_COLUMN_TIME, .preset = "now", .comment = "When the row was last changed; kept by a trigger."},          \
    {"last_actor", TT_COLUMN_TEXT, .optional = true, .comment = "Who changed the row last."}
/* How and where a program runs; each may be left open: what is null is as the next one says (transformation, template, pipeline, the program). */
#define PLACE                                                                                                                \
    {"executor", TT_COLUMN_TEXT, .optional = true, .comment = "What runs it; null: a worker."},                               \
    {"queue", TT_COLUMN_TEXT, .optional = true, .comment = "The queue of its tasks."},                                        \
    {"image", TT_COLUMN_TEXT, .optional = true, .comment = "The container image, for executors that use one."},               \
    {"cpu", TT_COLUMN_REAL, .optional = true, .comment = "Processors that it is given."},                                     \
    {"memory_mb", TT_COLUMN_INT, .optional = true, .comment = "Memory that it may take, in MiB."},                            \
    {"timeout_s", TT_COLUMN_INT, .optional = true, .comment = "How long it may run, in seconds."},                            \
    {"retries", TT_COLUMN_INT, .optional = true, .comment = "How often it is tried again."},                                  \
    {"retry_delay_s", TT_COLUMN_INT, .optional = true, .comment = "Before the second attempt, in seconds; doubled each time."}, \
    {"env", TT_COLUMN_JSON, .optional = true, .comment = "Environment variables, a JSON object of texts."}

static const tt_model_column companies[] = {
    ID,
    {"name", TT_COLUMN_TEXT, .comment = "In lower case the parent in paths of the lake."},
    {"display_name", TT_COLUMN_TEXT, .comment = "For people."},
    STAMPS, {0},
};

static const tt_model_column brands[] = {
    ID,
    {"name", TT_COLUMN_TEXT, .comment = "In lower case the child in paths of the lake."},
    {"display_name", TT_COLUMN_TEXT, .comment = "For people."},
    {"pharmaceutical_company_id", TT_COLUMN_INT, .refers = "companies", .comment = "The company that owns it."},
    STAMPS, {0},
};

static const tt_model_column segments[] = {
    ID,
    {"name", TT_COLUMN_TEXT, .comment = "A business unit, like Patient, Payer or Distribution."},
    STAMPS, {0},
};

static const tt_model_column pipeline_types[] = {
    ID,
    {"name", TT_COLUMN_TEXT, .comment = "Groups pipelines; nothing follows from it."},
    {"segment_id", TT_COLUMN_INT, .refers = "segments", .comment = "The segment that it belongs to."},
    STAMPS, {0},
};

static const tt_model_column pipelines[] = {
    ID,
    {"name", TT_COLUMN_TEXT, .comment = "Also the name of its graph."},
    {"pipeline_type_id", TT_COLUMN_INT, .optional = true, .refers = "pipeline_types", .comment = "Its type."},
    {"brand_id", TT_COLUMN_INT, .optional = true, .refers = "brands", .comment = "The brand whose data it makes; null: nobody's."},
    {"is_active", TT_COLUMN_BOOL, .preset = "TRUE", .comment = "False: its schedule starts no runs."},
    {"run_frequency", TT_COLUMN_TEXT, .optional = true, .comment = "hourly, daily, weekly, monthly, yearly, a cron line or an RFC 5545 rule; none or null: by hand only."},
    {"description", TT_COLUMN_TEXT, .optional = true, .comment = "For people."},
    {"time_zone", TT_COLUMN_TEXT, .preset = "'UTC'", .comment = "The time zone of its schedule."},
    {"missed", TT_COLUMN_TEXT, .preset = "'latest'", .comment = "Times that passed while no server ran: latest (the last one runs), all or skip."},
    {"branch", TT_COLUMN_TEXT, .optional = true, .comment = "The branch in paths of the lake; null: as the environment says."},
    {"max_runs", TT_COLUMN_INT, .preset = "1", .comment = "Its runs at the same time, at most."},
    {"max_tasks", TT_COLUMN_INT, .preset = "0", .comment = "Tasks of one run at the same time, at most; 0: any number."},
    PLACE, STAMPS, {0},
};

static const tt_model_column pipeline_state_types[] = {
    ID,
    {"name", TT_COLUMN_TEXT, .comment = "raw, ingest, master, enhance, enrich, metrics or dimensional."},
    STAMPS, {0},
};

static const tt_model_column pipeline_states[] = {
    ID,
    {"pipeline_state_type_id", TT_COLUMN_INT, .refers = "pipeline_state_types", .comment = "Which state it is."},
    {"pipeline_id", TT_COLUMN_INT, .refers = "pipelines", .comment = "The pipeline whose state it is."},
    {"graph_order", TT_COLUMN_INT, .comment = "States run one after the other, in this order."},
    STAMPS, {0},
};

static const tt_model_column transformation_templates[] = {
    ID,
    {"name", TT_COLUMN_TEXT, .comment = "The name of the program, and of the dataset that it makes."},
    {"description", TT_COLUMN_TEXT, .optional = true, .comment = "For people."},
    {"variable_structures", TT_COLUMN_JSON, .optional = true, .comment = "A JSON object: by name of a variable its datatype, description, and whether it is optional."},
    {"pipeline_state_type_id", TT_COLUMN_INT, .optional = true, .refers = "pipeline_state_types", .comment = "The state in which it is used; null: any."},
    PLACE, STAMPS, {0},
};

static const tt_model_column tags[] = {
    ID,
    {"value", TT_COLUMN_TEXT, .comment = "Like current, deprecated or beta."},
    STAMPS, {0},
};

static const tt_model_column templates_tags[] = {
    {"transformation_template_id", TT_COLUMN_INT, .refers = "transformation_templates", .comment = "The template."},
    {"tag_id", TT_COLUMN_INT, .refers = "tags", .comment = "Its tag."},
    STAMPS, {0},
};

static const tt_model_column transformations[] = {
    ID,
    {"name", TT_COLUMN_TEXT, .optional = true, .comment = "Its name in the pipeline; null: the template's."},
    {"transformation_template_id", TT_COLUMN_INT, .refers = "transformation_templates", .comment = "What it does."},
    {"pipeline_state_id", TT_COLUMN_INT, .refers = "pipeline_states", .comment = "The state in which it runs."},
    {"graph_order", TT_COLUMN_INT, .preset = "0", .comment = "Transformations of a state with equal order run side by side, smaller ones before."},
    PLACE, STAMPS, {0},
};

static const tt_model_column transformation_variables[] = {
    ID,
    {"transformation_id", TT_COLUMN_INT, .refers = "transformations", .comment = "The transformation that it is for."},
    {"name", TT_COLUMN_TEXT, .comment = "As in the template's variable_structures."},
    {"value", TT_COLUMN_TEXT, .comment = "As text; lists and maps as JSON."},
    STAMPS, {0},
};

static const tt_model_column administrators[] = {
    ID,
    {"email_address", TT_COLUMN_TEXT, .comment = "Who signs in with it may change the configuration."},
    {"first_name", TT_COLUMN_TEXT, .comment = "For people."},
    {"last_name", TT_COLUMN_TEXT, .comment = "For people."},
    STAMPS, {0},
};

static const tt_model_column run_events[] = {
    {"id", TT_COLUMN_ID, .comment = "The id of the run; never used again."},
    {"pipeline_id", TT_COLUMN_INT, .optional = true, .refers = "pipelines", .comment = "The pipeline that runs; null: one that was given as a file."},
    {"due_s", TT_COLUMN_INT, .optional = true, .comment = "The time of its schedule that it is for, in seconds since 1970; null: it was started by hand."},
    {"server", TT_COLUMN_TEXT, .optional = true, .comment = "Which server wrote it."},
    STAMPS, {0},
};

static const tt_model_column events[] = {
    {"id", TT_COLUMN_ID, .comment = "Events in the order in which they were written."},
    {"table_name", TT_COLUMN_TEXT, .optional = true, .comment = "The table that was changed."},
    {"actor", TT_COLUMN_TEXT, .optional = true, .comment = "Who changed it: of the connection, else the row's last_actor."},
    {"before_value", TT_COLUMN_JSON, .optional = true, .comment = "The row before; null: it was made."},
    {"after_value", TT_COLUMN_JSON, .optional = true, .comment = "The row after; null: it was deleted."},
    {"event_timestamp", TT_COLUMN_TIME, .preset = "now", .comment = "When."},
    {0},
};

const tt_model_table tt_model[] = {
    {"companies", NULL, "Who owns brands.", 1, companies, .unique = "name", .is_audited = true},
    {"brands", NULL, "Of a company; each has pipelines.", 1, brands, .unique = "pharmaceutical_company_id,name", .is_audited = true},
    {"segments", NULL, "Business units.", 1, segments, .unique = "name", .is_audited = true},
    {"pipeline_types", NULL, "Kinds of pipelines, by segment.", 1, pipeline_types, .unique = "segment_id,name", .is_audited = true},
    {"pipelines", NULL, "What is run: a graph of states and their transformations.", 1, pipelines, .unique = "name", .is_audited = true},
    {"pipeline_state_types", NULL, "Names of states.", 1, pipeline_state_types, .unique = "name", .is_audited = true},
    {"pipeline_states", NULL, "The states of each pipeline, in their order.", 1, pipeline_states,
     .unique = "pipeline_id,graph_order;pipeline_id,pipeline_state_type_id", .is_audited = true},
    {"transformation_templates", NULL, "Programs as pipelines use them, with the variables that they take.", 1, transformation_templates, .unique = "name", .is_audited = true},
    {"tags", NULL, "Words that templates are marked with.", 1, tags, .unique = "value", .is_audited = true},
    {"transformation_templates_tags", NULL, "Which template has which tag.", 1, templates_tags, .key = "transformation_template_id,tag_id", .is_audited = true},
    {"transformations", NULL, "The uses of templates in the states of pipelines.", 1, transformations, .unique = "pipeline_state_id,name", .is_audited = true},
    {"transformation_variables", NULL, "Values of the variables of transformations.", 1, transformation_variables, .unique = "transformation_id,name", .is_audited = true},
    {"administrators", NULL, "Who may sign in.", 1, administrators, .unique = "email_address", .is_audited = true},
    {"run_events", NULL, "One row for each run of a pipeline, written first: its id is the id of the run.", 1, run_events, .unique = "pipeline_id,due_s", .index = "pipeline_id",
     .is_audited = true},
    {"events", "auditing", "What was changed in which table, and by whom.", 1, events},
    {0},
};
