/// One test for each behaviour; `$run` gets the behaviour and applies it to a loglet of its own.
macro_rules! loglet_conformance {
    ($run:ident: $($group:ident { $($behaviour:ident),* $(,)? })*) => {
        $(mod $group {
            $(#[test]
            fn $behaviour() {
                super::$run!(super::suite::$group::$behaviour);
            })*
        })*
    };
    ($run:ident) => {
        loglet_conformance! {
            $run:
            append {
                offsets_are_contiguous,
                several_clients_share_one_order,
                empty_and_maximal_records_are_kept,
            }
            deletion { a_deleted_loglet_is_gone }
            durability {
                one_lost_server_stops_nothing,
                an_acknowledgement_waits_for_a_majoritys_disks,
                without_a_majority_appends_wait,
            }
            fill {
                offsets_nobody_appended_at_are_given_to_no_ops,
                what_is_given_out_is_not_filled_again,
                fills_at_once_do_not_add_up,
                a_far_offset_is_reached_by_asking_again,
                a_sealed_loglet_is_not_filled,
                no_ops_survive_restarts_and_repairs,
            }
            reading {
                every_range_reads_back,
                at_the_tail_there_is_nothing_yet,
                bytes_max_bounds_an_answer,
                what_was_read_stays,
            }
            seal {
                sealing_is_idempotent,
                nothing_is_acknowledged_after_it,
                racing_appends_are_settled_by_the_tail,
                it_survives_restarts,
            }
            subscription {
                every_offset_comes_once_and_in_order,
                one_at_the_tail_waits,
                credit_is_respected,
                unsubscribe_ends_it,
                the_seal_ends_it_after_the_last_record,
                a_sealed_loglet_is_delivered_up_to_its_stop,
                a_trim_ends_it,
            }
            tail {
                a_fresh_loglet_is_open_and_empty,
                the_tail_covers_what_was_acknowledged,
                tails_never_sink_among_appends,
            }
            trim {
                what_is_below_is_gone_and_the_tail_stands,
                a_trim_is_idempotent_and_never_sinks,
                it_is_clipped_to_what_is_committed,
                the_tail_survives_it_and_restarts,
            }
        }
    };
}
pub(crate) use loglet_conformance;
