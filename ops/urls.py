from django.urls import path

from ops import screen, sign_in, switching

urlpatterns = [
    path("", screen.home, name="home"),
    path("switches/", switching.show, name="switches"),
    path("theme/", screen.theme, name="theme"),
    path("sign-in/", sign_in.SignIn.as_view(), name="sign_in"),
    path("sign-out/", sign_in.SignOut.as_view(), name="sign_out"),
    # Before the admin's own, so that there is one place to sign in.
    path("admin/login/", sign_in.admin_sign_in),
    path("admin/logout/", sign_in.SignOut.as_view()),
]
