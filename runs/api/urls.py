"""The addresses under /api/ that belong to runs."""

from django.urls import path, re_path, register_converter
from django.urls.converters import IntConverter, StringConverter

from runs.api import calls, control, runs, schema, stream, workflows
from runs.urls import RunId as RunId  # registers the converters of ids


class WorkflowName(StringConverter):
    """The name of a workflow."""

    regex = "[^/]{1,100}"


class VersionNumber(IntConverter):
    """A version that a column can hold."""

    regex = "[1-9][0-9]{0,8}"


register_converter(WorkflowName, "workflow_name")
register_converter(VersionNumber, "version")

app_name = "api"
ONE = "v1/runs/<run_id:run_id>"
VERSION = "v1/workflows/<workflow_name:name>/versions/<version:version>"
urlpatterns = [
    path("v1/runs", runs.Runs.as_view(), name="runs"),
    path("v1/runs/bulk", control.ManyRuns.as_view(), name="bulk"),
    path(ONE, runs.OneRun.as_view(), name="run"),
    path(f"{ONE}/steps", runs.Steps.as_view(), name="steps"),
    path(f"{ONE}/steps/<step_id:step_id>", runs.OneStep.as_view(), name="step"),
    path(f"{ONE}/steps/<step_id:step_id>/answer", runs.Answers.as_view(), name="answer"),
    path(f"{ONE}/journal", runs.Journal.as_view(), name="journal"),
    path(f"{ONE}/journal/stream", stream.JournalStream.as_view(), name="stream"),
    path(f"{ONE}/messages", runs.Messages.as_view(), name="messages"),
    path(f"{ONE}/artifacts", runs.Artifacts.as_view(), name="artifacts"),
    path(
        f"{ONE}/artifacts/<artifact_id:artifact_id>/content", runs.ArtifactContent.as_view(), name="artifact"
    ),
    path(f"{ONE}/pause", control.Pause.as_view(), name="pause"),
    path(f"{ONE}/resume", control.Resume.as_view(), name="resume"),
    path(f"{ONE}/cancel", control.Cancel.as_view(), name="cancel"),
    path(f"{ONE}/retry", control.RetryRun.as_view(), name="retry"),
    path(f"{ONE}/fork", control.ForkRun.as_view(), name="fork"),
    path(f"{ONE}/grant", control.GrantBudget.as_view(), name="grant"),
    path(f"{ONE}/replay", control.ReplayRun.as_view(), name="replay"),
    path("v1/questions", workflows.Questions.as_view(), name="questions"),
    path("v1/calls", calls.Calls.as_view(), name="calls"),
    path("v1/calls/<call_id:call_id>/settle", calls.Settlement.as_view(), name="settle"),
    path("v1/workflows", workflows.Workflows.as_view(), name="workflows"),
    path(f"{VERSION}/activate", workflows.Activation.as_view(), name="activate"),
    path(f"{VERSION}/retire", workflows.Retirement.as_view(), name="retire"),
    path("v1/schedules", workflows.Schedules.as_view(), name="schedules"),
    path("v1/schema", schema.Schema.as_view(), name="schema"),
    path("v1/docs", schema.Docs.as_view(), name="docs"),
    re_path(r"", schema.Unknown.as_view(), name="unknown"),
]
