-- Links are unique by the hubs they join, so those are the primary key: half the index work of a row, and the
-- links of an order are found by the key's prefix. hk_…_pk stays as it is, the hash of that pair; strata
-- reconcile proves it, no index does.
--
-- Upgrade: locks each link table while its key is built, about a second per million rows; nothing is read or
-- written meanwhile, and events wait in Kafka. One transaction: a run that is stopped changes nothing. It fails
-- with "could not create unique index" only where somebody wrote a second row of a pair by hand: delete the row
-- whose hash strata reconcile calls wrong, and migrate again.
-- An instance of the release before, which still names the old key, retries without end and loses nothing until
-- it is replaced.
alter table dds.l_order_user
    drop constraint pk_l_order_user,
    add constraint pk_l_order_user primary key (h_order_pk, h_user_pk);
drop index dds.ix_l_order_user_order;

alter table dds.l_order_product
    drop constraint pk_l_order_product,
    add constraint pk_l_order_product primary key (h_order_pk, h_product_pk);
drop index dds.ix_l_order_product_order;

alter table dds.l_order_category
    drop constraint pk_l_order_category,
    add constraint pk_l_order_category primary key (h_order_pk, h_category_pk);
drop index dds.ix_l_order_category_order;

alter table dds.l_product_restaurant
    drop constraint pk_l_product_restaurant,
    add constraint pk_l_product_restaurant primary key (h_product_pk, h_restaurant_pk);

alter table dds.l_product_category
    drop constraint pk_l_product_category,
    add constraint pk_l_product_category primary key (h_product_pk, h_category_pk);
drop index dds.ix_l_product_category_product;
