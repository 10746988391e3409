"""Signing in and out. One message for a wrong name and a wrong password; who tries too often is told when."""

from __future__ import annotations

from typing import Any

from axes.helpers import get_client_ip_address, get_cool_off
from axes.models import AccessAttempt
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_safe

from runs.access import denied

WRONG = "The user name or the password is not right. Check both; capital letters count in the password."


class SignInForm(AuthenticationForm):
    """User name and password."""

    error_messages = {"invalid_login": WRONG, "inactive": WRONG}

    def get_invalid_login_error(self) -> ValidationError:
        return ValidationError(WRONG, code="invalid_login")


@method_decorator(never_cache, name="dispatch")
class SignIn(LoginView):
    """The sign-in page; goes on to ``next`` when that is a page of ours, otherwise to the start page."""

    form_class = SignInForm
    template_name = "sign_in.html"
    redirect_authenticated_user = True

    @method_decorator(sensitive_post_parameters("password"))
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return super().dispatch(request, *args, **kwargs)

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        response = super().form_invalid(form)
        response.status_code = 422
        return response


class SignOut(LogoutView):
    """Ends the session; by POST alone."""

    http_method_names = ["post", "options"]


@never_cache
def locked_out(
    request: HttpRequest, response: HttpResponse | None = None, credentials: Any = None
) -> HttpResponse:
    """The sign-in page for somebody who was wrong too often: it says when they may try again."""
    username = str((credentials or {}).get("username") or request.POST.get("username", ""))
    form = SignInForm(request, initial={"username": username})
    rest = get_cool_off(request)
    tried = AccessAttempt.objects.filter(username=username, ip_address=get_client_ip_address(request))
    last = tried.order_by("-attempt_time").values_list("attempt_time", flat=True).first()
    again_at = (last or timezone.now()) + rest if rest else None
    context = {"form": form, "again_at": again_at, "next": request.POST.get("next", "")}
    return render(request, "sign_in.html", context, status=429)


@require_safe
@never_cache
def admin_sign_in(request: HttpRequest) -> HttpResponse:
    """The admin has no sign-in page of its own; who is signed in and still comes here is not staff."""
    if request.user.is_authenticated:
        if request.user.is_active and request.user.is_staff:
            return HttpResponseRedirect(reverse("admin:index"))
        return denied(request, "The admin is open to staff only.", "staff status")
    wanted = {"next": request.GET.get("next") or reverse("admin:index")}
    return redirect(reverse("sign_in", query=wanted))
