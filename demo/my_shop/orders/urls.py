from django.urls import path

from orders import views

urlpatterns = [
    path("cart/", views.cart, name="cart"),
    path("cart/add/<slug:slug>/", views.add, name="cart-add"),
    path("cart/change/<slug:slug>/", views.change, name="cart-change"),
    path("cart/checkout/", views.checkout, name="checkout"),
    path("orders/", views.orders, name="orders"),
    path("orders/<int:number>/", views.order, name="order"),
    path("export/sales.csv", views.export, name="sales-csv"),
]
