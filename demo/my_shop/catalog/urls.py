from django.urls import path

from catalog import views

urlpatterns = [
    path("", views.home, name="home"),
    path("search/", views.search, name="search"),
    path("prints/new/", views.add_product, name="add-product"),
    path("prints/<slug:slug>/", views.product, name="product"),
]
