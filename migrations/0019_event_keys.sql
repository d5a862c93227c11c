-- Raw tables and counters are keyed by what they are about, so that they can be distributed by it, and have one
-- index less each: nobody looks a row up by its id. That stays as it is, a number for whoever wants one.
--
-- Upgrade: locks each table while its key is built, about a second per million rows; events wait in Kafka meanwhile.
-- One transaction: a run that is stopped changes nothing. Instances of the release before go on beside it, their
-- statements name the same columns.
alter table stg.order_events
    drop constraint pk_order_events,
    drop constraint uq_order_events_object_id,
    add constraint pk_order_events primary key (object_id);

alter table stg.hotel_search_events
    drop constraint pk_hotel_search_events,
    drop constraint uq_hotel_search_events_event_id,
    add constraint pk_hotel_search_events primary key (event_id);

alter table cdm.user_product_counters
    drop constraint pk_user_product_counters,
    drop constraint uq_user_product_counters_user_product,
    add constraint pk_user_product_counters primary key (user_id, product_id);

alter table cdm.user_category_counters
    drop constraint pk_user_category_counters,
    drop constraint uq_user_category_counters_user_category,
    add constraint pk_user_category_counters primary key (user_id, category_id);
