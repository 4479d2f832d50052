// Package crash kills real processes under traffic and looks whether anything was lost, doubled or done without a record.
package crash
