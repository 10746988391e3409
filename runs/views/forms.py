"""What people fill in on a run's page."""

from django import forms


class ResumeForm(forms.Form):
    """Why a run that needed attention may go on."""

    reason = forms.CharField(
        max_length=2000,
        strip=True,
        error_messages={
            "required": "Say why it may go on: the reason is kept with the run.",
            "max_length": "Shorten the reason to %(limit_value)d characters.",
        },
    )
