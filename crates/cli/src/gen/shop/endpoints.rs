//! What the services can be asked, what they do then, and with what the traces begin.

use super::Value::{Between, Cents, Int, OneOf, Percent, Text};
use super::queries::{
    ADDRESS_BY_USER, CART_CACHED, CART_CLEAR, CART_STORE, EVENTS_INSERT, LEDGER_INSERT, ORDER_INSERT,
    ORDER_LINE_INSERT, ORDERS_BY_USER, PRICE_CACHED, PRICE_RULES, PRODUCT_BY_ID, PRODUCT_CACHED,
    PRODUCTS_BY_CATEGORY, REVIEWS_BY_PRODUCT, SEARCH_INDEX, SESSION_CACHED, SHIPMENT_INSERT, STOCK_BY_SKU,
    STOCK_RESERVE, USER_BY_ID,
};
use super::{Attribute, Endpoint, Entry, Step, compute, publish, query, request, rpc};

const fn http(
    service: &'static str,
    (method, route, path): (&'static str, &'static str, &'static str),
    work_us: u32,
    attributes: &'static [Attribute],
    steps: &'static [Step],
) -> Endpoint {
    Endpoint { service, entry: Entry::Http { method, route, path }, work_us, attributes, steps }
}

const fn grpc(
    service: &'static str,
    (interface, method): (&'static str, &'static str),
    work_us: u32,
    attributes: &'static [Attribute],
    steps: &'static [Step],
) -> Endpoint {
    Endpoint { service, entry: Entry::Rpc { interface, method }, work_us, attributes, steps }
}

const CURRENCIES: &[&str] = &["EUR", "USD", "GBP", "CHF", "SEK", "JPY"];
const CATEGORIES: &[&str] = &["kitchen", "garden", "books", "toys", "shoes", "audio", "light", "travel"];
const TIERS: &[&str] = &["none", "silver", "gold", "platinum"];

/// With what traces begin, and how often of all weights together.
pub(in crate::r#gen) static ROOTS: &[(u32, &str, &str)] = &[
    (150, "storefront-web", "GET /"),
    (250, "storefront-web", "GET /product/{id}"),
    (110, "storefront-web", "GET /search"),
    (90, "storefront-web", "GET /cart"),
    (90, "storefront-web", "POST /cart/items"),
    (34, "storefront-web", "POST /checkout"),
    (30, "storefront-web", "GET /account/orders"),
    (40, "storefront-web", "POST /login"),
    (40, "storefront-web", "GET /healthz"),
    (40, "api-gateway", "GET /healthz"),
    (25, "media", "GET /images/{id}"),
    (35, "warehouse-worker", "orders"),
    (35, "notification-worker", "orders"),
    (45, "analytics-collector", "events"),
    (20, "scheduler", "refresh exchange rates"),
    (3, "scheduler", "reprice catalog"),
];

/// All of them.
pub(in crate::r#gen) static ENDPOINTS: &[Endpoint] = &[
    http(
        "storefront-web",
        ("GET", "/", "/"),
        2_600,
        &[("session.id", Text("{session}")), ("app.page", Text("home"))],
        &[
            compute("render", 1_900, &[("app.template", Text("home.tsx")), ("app.cached", Percent(40))]),
            request("api-gateway", "GET", "/api/home"),
            publish("events").percent(30),
        ],
    ),
    http(
        "storefront-web",
        ("GET", "/product/{id}", "/product/{product}"),
        2_100,
        &[("session.id", Text("{session}")), ("app.page", Text("product"))],
        &[
            request("api-gateway", "GET", "/api/products/{id}"),
            compute("render", 1_700, &[("app.template", Text("product.tsx")), ("app.cached", Percent(15))]),
            publish("events").percent(40),
        ],
    ),
    http(
        "storefront-web",
        ("GET", "/search", "/search"),
        2_300,
        &[("session.id", Text("{session}")), ("app.search.sort", OneOf(&["relevance", "price", "newest"]))],
        &[
            request("api-gateway", "GET", "/api/search"),
            compute("render", 2_000, &[("app.template", Text("search.tsx")), ("app.cached", Percent(5))]),
        ],
    ),
    http(
        "storefront-web",
        ("GET", "/cart", "/cart"),
        1_900,
        &[("session.id", Text("{session}")), ("app.page", Text("cart"))],
        &[request("api-gateway", "GET", "/api/cart")],
    ),
    http(
        "storefront-web",
        ("POST", "/cart/items", "/cart/items"),
        1_500,
        &[("session.id", Text("{session}")), ("app.product.id", Text("{product}"))],
        &[request("api-gateway", "POST", "/api/cart/items"), publish("events").percent(80)],
    ),
    http(
        "storefront-web",
        ("POST", "/checkout", "/checkout"),
        3_300,
        &[("session.id", Text("{session}")), ("app.order.id", Text("{order}"))],
        &[request("api-gateway", "POST", "/api/checkout"), publish("events")],
    ),
    http(
        "storefront-web",
        ("GET", "/account/orders", "/account/orders"),
        1_800,
        &[("session.id", Text("{session}")), ("app.page", Text("orders"))],
        &[request("api-gateway", "GET", "/api/orders")],
    ),
    http(
        "storefront-web",
        ("POST", "/login", "/login"),
        1_400,
        &[("session.id", Text("{session}")), ("app.login.method", OneOf(&["password", "passkey", "google"]))],
        &[request("api-gateway", "POST", "/api/session")],
    ),
    http("storefront-web", ("GET", "/healthz", "/healthz"), 120, &[("app.probe", Text("liveness"))], &[]),
    http("api-gateway", ("GET", "/healthz", "/healthz"), 90, &[("app.probe", Text("readiness"))], &[]),
    http(
        "api-gateway",
        ("GET", "/api/home", "/api/home"),
        700,
        &[("app.api.version", Text("2024-11")), ("app.rate_limit.remaining", Between(128, 9_000))],
        &[
            rpc("auth", "ValidateToken").percent(75),
            rpc("catalog", "ListProducts").times(1, 3).parallel(),
            rpc("recommendation", "ListRecommendations").parallel(),
            rpc("promotion", "ListActive").parallel(),
            rpc("cart", "GetCart").percent(70).parallel(),
            rpc("currency", "GetRates").percent(50).parallel(),
        ],
    ),
    http(
        "api-gateway",
        ("GET", "/api/products/{id}", "/api/products/{product}"),
        800,
        &[("app.api.version", Text("2024-11")), ("app.product.id", Text("{product}"))],
        &[
            rpc("auth", "ValidateToken").percent(60),
            rpc("catalog", "GetProduct"),
            rpc("pricing", "GetPrice").parallel(),
            rpc("inventory", "GetStock").parallel(),
            rpc("review", "ListReviews").percent(80).parallel(),
            rpc("recommendation", "ListRecommendations").percent(60).parallel(),
            rpc("promotion", "ListActive").percent(30).parallel(),
        ],
    ),
    http(
        "api-gateway",
        ("GET", "/api/search", "/api/search"),
        900,
        &[("app.api.version", Text("2024-11")), ("app.search.page", Between(1, 9))],
        &[rpc("auth", "ValidateToken").percent(50), rpc("search", "Search")],
    ),
    http(
        "api-gateway",
        ("GET", "/api/cart", "/api/cart"),
        700,
        &[("app.api.version", Text("2024-11")), ("app.rate_limit.remaining", Between(128, 9_000))],
        &[
            rpc("auth", "ValidateToken"),
            rpc("cart", "GetCart"),
            rpc("catalog", "GetProduct").times(1, 6).parallel(),
            rpc("pricing", "GetPrice").times(1, 4).parallel(),
            rpc("shipping", "GetQuote").percent(60).parallel(),
        ],
    ),
    http(
        "api-gateway",
        ("POST", "/api/cart/items", "/api/cart/items"),
        750,
        &[("app.api.version", Text("2024-11")), ("app.product.id", Text("{product}"))],
        &[rpc("auth", "ValidateToken"), rpc("catalog", "GetProduct"), rpc("cart", "AddItem")],
    ),
    http(
        "api-gateway",
        ("POST", "/api/checkout", "/api/checkout"),
        900,
        &[("app.api.version", Text("2024-11")), ("app.order.id", Text("{order}"))],
        &[rpc("auth", "ValidateToken"), rpc("checkout", "PlaceOrder")],
    ),
    http(
        "api-gateway",
        ("GET", "/api/orders", "/api/orders"),
        650,
        &[("app.api.version", Text("2024-11")), ("app.page.size", Int(10))],
        &[rpc("auth", "ValidateToken"), request("order-history", "GET", "/orders")],
    ),
    http(
        "api-gateway",
        ("POST", "/api/session", "/api/session"),
        600,
        &[("app.api.version", Text("2024-11")), ("app.login.attempt", Between(1, 3))],
        &[rpc("auth", "IssueToken")],
    ),
    grpc(
        "auth",
        ("shop.identity.v1.AuthService", "ValidateToken"),
        260,
        &[("app.token.kind", OneOf(&["jwt", "opaque"])), ("session.id", Text("{session}"))],
        &[
            query(&SESSION_CACHED),
            compute("verify signature", 210, &[("app.key.id", Text("k-2024-11-{hex}"))]).percent(40),
        ],
    ),
    grpc(
        "auth",
        ("shop.identity.v1.AuthService", "IssueToken"),
        2_900,
        &[
            ("app.token.kind", Text("jwt")),
            ("app.login.risk", OneOf(&["low", "low", "low", "medium", "high"])),
        ],
        &[
            rpc("user-accounts", "GetUser"),
            compute("argon2", 38_000, &[("app.memory_kib", Int(19_456))]),
            query(&SESSION_CACHED),
        ],
    ),
    grpc(
        "user-accounts",
        ("shop.identity.v1.UserService", "GetUser"),
        700,
        &[("app.user.tier", OneOf(TIERS)), ("app.user.locale", OneOf(&["de-DE", "en-GB", "fr-FR", "sv-SE"]))],
        &[query(&USER_BY_ID)],
    ),
    grpc(
        "user-accounts",
        ("shop.identity.v1.UserService", "GetAddress"),
        620,
        &[("app.address.kind", OneOf(&["billing", "delivery"])), ("app.user.tier", OneOf(TIERS))],
        &[query(&ADDRESS_BY_USER)],
    ),
    grpc(
        "cart",
        ("shop.cart.v1.CartService", "GetCart"),
        540,
        &[("app.cart.items", Between(1, 24)), ("app.cart.total", Cents(500, 40_000))],
        &[query(&CART_CACHED)],
    ),
    grpc(
        "cart",
        ("shop.cart.v1.CartService", "AddItem"),
        610,
        &[("app.product.id", Text("{product}")), ("app.product.quantity", Between(1, 6))],
        &[query(&CART_CACHED), rpc("inventory", "GetStock").percent(70), query(&CART_STORE)],
    ),
    grpc(
        "cart",
        ("shop.cart.v1.CartService", "EmptyCart"),
        380,
        &[("app.cart.items", Between(1, 24)), ("app.order.id", Text("{order}"))],
        &[query(&CART_CLEAR)],
    ),
    grpc(
        "catalog",
        ("shop.catalog.v1.CatalogService", "GetProduct"),
        410,
        &[("app.product.id", Text("{item}")), ("app.cache.hit", Percent(65))],
        &[query(&PRODUCT_CACHED), query(&PRODUCT_BY_ID).percent(35)],
    ),
    grpc(
        "catalog",
        ("shop.catalog.v1.CatalogService", "ListProducts"),
        980,
        &[("app.product.category", OneOf(CATEGORIES)), ("app.product.count", Between(8, 48))],
        &[query(&PRODUCTS_BY_CATEGORY), query(&PRODUCT_CACHED).percent(60).times(1, 4).parallel()],
    ),
    grpc(
        "search",
        ("shop.search.v1.SearchService", "Search"),
        2_700,
        &[("app.search.hits", Between(128, 16_000)), ("app.search.took_ms", Between(2, 120))],
        &[
            compute(
                "parse query",
                320,
                &[("app.search.terms", Between(1, 7)), ("app.search.fuzzy", Percent(30))],
            ),
            query(&SEARCH_INDEX),
            rpc("pricing", "GetPrice").times(2, 8).parallel(),
            rpc("inventory", "GetStock").times(1, 3).parallel(),
        ],
    ),
    grpc(
        "pricing",
        ("shop.pricing.v1.PricingService", "GetPrice"),
        470,
        &[("app.price.currency", OneOf(CURRENCIES)), ("app.price.amount", Cents(199, 49_999))],
        &[query(&PRICE_CACHED), query(&PRICE_RULES).percent(25), rpc("currency", "Convert").percent(30)],
    ),
    grpc(
        "promotion",
        ("shop.promotion.v1.PromotionService", "ListActive"),
        820,
        &[
            ("app.promotion.count", Between(1, 12)),
            ("app.promotion.region", OneOf(&["eu", "uk", "us", "apac"])),
        ],
        &[compute("evaluate rules", 900, &[("app.rules", Between(10, 90))]).percent(50)],
    ),
    grpc(
        "recommendation",
        ("shop.recommendation.v1.RecommendationService", "ListRecommendations"),
        3_400,
        &[
            ("app.model", OneOf(&["als-2024-10", "als-2024-11", "two-tower-3"])),
            ("app.candidates", Between(128, 900)),
        ],
        &[
            compute("score candidates", 5_200, &[("app.batch", Between(16, 64)), ("app.gpu", Percent(10))]),
            rpc("catalog", "GetProduct").times(1, 4).parallel(),
        ],
    ),
    grpc(
        "review",
        ("shop.review.v1.ReviewService", "ListReviews"),
        1_700,
        &[("app.review.count", Between(1, 20)), ("app.product.id", Text("{product}"))],
        &[query(&REVIEWS_BY_PRODUCT)],
    ),
    http(
        "media",
        ("GET", "/images/{id}", "/images/{product}.webp"),
        1_100,
        &[("app.image.width", OneOf(&["320", "640", "1280"])), ("app.cache.hit", Percent(85))],
        &[compute("resize", 9_400, &[("app.image.format", Text("webp"))]).percent(15)],
    ),
    grpc(
        "currency",
        ("shop.currency.v1.CurrencyService", "Convert"),
        60,
        &[("app.currency.from", Text("EUR")), ("app.currency.to", OneOf(CURRENCIES))],
        &[],
    ),
    grpc(
        "currency",
        ("shop.currency.v1.CurrencyService", "GetRates"),
        80,
        &[("app.currency.base", Text("EUR")), ("app.currency.count", Int(33))],
        &[],
    ),
    grpc(
        "checkout",
        ("shop.checkout.v1.CheckoutService", "PlaceOrder"),
        2_200,
        &[("app.order.id", Text("{order}")), ("app.order.total", Cents(900, 90_000))],
        &[
            rpc("cart", "GetCart"),
            rpc("user-accounts", "GetAddress").times(1, 2).parallel(),
            rpc("catalog", "GetProduct").times(2, 14).parallel(),
            rpc("pricing", "GetPrice").times(2, 14).parallel(),
            rpc("shipping", "GetQuote"),
            rpc("inventory", "Reserve").times(2, 14),
            rpc("payment", "Charge"),
            query(&ORDER_INSERT),
            query(&ORDER_LINE_INSERT).times(2, 14),
            rpc("shipping", "CreateShipment"),
            rpc("cart", "EmptyCart"),
            request("email", "POST", "/send_order_confirmation"),
            publish("orders"),
        ],
    ),
    grpc(
        "payment",
        ("shop.payment.v1.PaymentService", "Charge"),
        4_100,
        &[
            ("app.payment.method", OneOf(&["card", "card", "paypal", "invoice", "klarna"])),
            ("app.payment.amount", Cents(900, 90_000)),
        ],
        &[
            rpc("fraud-check", "Score"),
            compute(
                "call provider",
                140_000,
                &[("app.provider", OneOf(&["adyen", "stripe"])), ("app.3ds", Percent(30))],
            ),
            query(&LEDGER_INSERT).times(1, 2),
        ],
    ),
    grpc(
        "fraud-check",
        ("shop.payment.v1.FraudService", "Score"),
        6_800,
        &[("app.fraud.model", Text("gbm-17")), ("app.fraud.score", Cents(0, 100))],
        &[rpc("user-accounts", "GetUser"), compute("features", 2_300, &[("app.features", Int(212))])],
    ),
    grpc(
        "shipping",
        ("shop.shipping.v1.ShippingService", "GetQuote"),
        750,
        &[
            ("app.shipping.carrier", OneOf(&["dhl", "ups", "dpd", "gls"])),
            ("app.shipping.cost", Cents(290, 2_400)),
        ],
        &[rpc("currency", "Convert").percent(40)],
    ),
    grpc(
        "shipping",
        ("shop.shipping.v1.ShippingService", "CreateShipment"),
        1_300,
        &[("app.shipping.carrier", OneOf(&["dhl", "ups", "dpd", "gls"])), ("app.order.id", Text("{order}"))],
        &[query(&SHIPMENT_INSERT), publish("events")],
    ),
    grpc(
        "inventory",
        ("shop.inventory.v1.InventoryService", "GetStock"),
        560,
        &[("app.product.id", Text("{item}")), ("app.stock.available", Between(1, 120))],
        &[query(&STOCK_BY_SKU)],
    ),
    grpc(
        "inventory",
        ("shop.inventory.v1.InventoryService", "Reserve"),
        690,
        &[("app.product.id", Text("{item}")), ("app.product.quantity", Between(1, 6))],
        &[query(&STOCK_RESERVE)],
    ),
    http(
        "order-history",
        ("GET", "/orders", "/orders"),
        2_400,
        &[("app.page.size", Int(10)), ("app.user.tier", OneOf(TIERS))],
        &[query(&ORDERS_BY_USER), rpc("catalog", "GetProduct").times(1, 10)],
    ),
    http(
        "email",
        ("POST", "/send_order_confirmation", "/send_order_confirmation"),
        18_000,
        &[("app.order.id", Text("{order}")), ("app.email.template", Text("order_confirmation"))],
        &[compute("render mail", 4_200, &[("app.template", Text("confirmation.erb"))])],
    ),
    Endpoint {
        service: "warehouse-worker",
        entry: Entry::Consume { topic: "orders", group: "warehouse" },
        work_us: 3_900,
        attributes: &[("app.warehouse", OneOf(&["BER-1", "BER-2", "RTM-1", "LYS-1"]))],
        steps: &[
            rpc("inventory", "Reserve").times(1, 6),
            compute("plan picking", 7_700, &[("app.bins", Between(1, 60)), ("app.express", Percent(20))]),
            publish("events"),
        ],
    },
    Endpoint {
        service: "notification-worker",
        entry: Entry::Consume { topic: "orders", group: "notifications" },
        work_us: 2_100,
        attributes: &[("app.channel", OneOf(&["push", "sms", "mail"]))],
        steps: &[
            rpc("user-accounts", "GetUser").times(1, 4),
            request("email", "POST", "/send_order_confirmation").percent(30),
        ],
    },
    Endpoint {
        service: "analytics-collector",
        entry: Entry::Consume { topic: "events", group: "insight" },
        work_us: 1_800,
        attributes: &[("app.events.bytes", Between(16_384, 900_000))],
        steps: &[
            compute("deduplicate", 1_500, &[("app.events.dropped", Between(1, 100))]).percent(50),
            query(&EVENTS_INSERT).times(1, 3),
        ],
    },
    Endpoint {
        service: "scheduler",
        entry: Entry::Job { name: "refresh exchange rates" },
        work_us: 900,
        attributes: &[("app.job.attempt", Int(1))],
        steps: &[rpc("currency", "GetRates")],
    },
    Endpoint {
        service: "scheduler",
        entry: Entry::Job { name: "reprice catalog" },
        work_us: 22_000,
        attributes: &[("app.job.attempt", Int(1))],
        steps: &[rpc("catalog", "ListProducts").times(2, 9), rpc("pricing", "GetPrice").times(30, 90)],
    },
];
