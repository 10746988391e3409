"""The shop in the admin: a window, not a door. Writes go through the tools."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline

from examples.support_desk.models import (
    Customer,
    Item,
    Message,
    Order,
    Payment,
    PaymentMethod,
    Product,
    ShopWrite,
    Variant,
)


class Window:
    """Nothing behind it can be added, changed or deleted."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class MethodInline(Window, TabularInline):
    model = PaymentMethod
    extra = 0


class VariantInline(Window, TabularInline):
    model = Variant
    extra = 0


class ItemInline(Window, TabularInline):
    model = Item
    extra = 0


class PaymentInline(Window, TabularInline):
    model = Payment
    extra = 0


@admin.register(Customer)
class CustomerAdmin(Window, ModelAdmin):
    list_display = ("number", "first_name", "last_name", "email", "shop")
    search_fields = ("number", "last_name", "email", "shop")
    inlines = (MethodInline,)


@admin.register(Product)
class ProductAdmin(Window, ModelAdmin):
    list_display = ("name", "number")
    search_fields = ("name", "number")
    inlines = (VariantInline,)


@admin.register(Order)
class OrderAdmin(Window, ModelAdmin):
    list_display = ("number", "customer_number", "status", "shop")
    list_filter = ("status",)
    search_fields = ("number", "customer_number", "shop")
    inlines = (ItemInline, PaymentInline)


@admin.register(ShopWrite)
class ShopWriteAdmin(Window, ModelAdmin):
    list_display = ("done_at", "tool", "shop", "key")
    list_filter = ("tool",)
    search_fields = ("key", "shop")


@admin.register(Message)
class MessageAdmin(Window, ModelAdmin):
    list_display = ("sent_at", "customer_number", "order_number", "shop")
    search_fields = ("customer_number", "order_number", "shop")
