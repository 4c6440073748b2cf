"""Attribution: what replacing a component by its mean would change, estimated and measured."""
